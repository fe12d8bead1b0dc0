"""Logs of stars, comments and impressions in one form."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from okml.data.logs import (
    EVENT_SCHEMA,
    IMPRESSION_SCHEMA,
    TITLE_SCHEMA,
    VIDEO_SCHEMA,
    EventLog,
    ImpressionLog,
)
from okml.errors import DataError
from okml.video_workshop.data import STARS, of_events, of_impressions
from okml.video_workshop.experiments.protocol import share_of_tied
from okml.video_workshop.settings import DataSettings

TITLES = pl.DataFrame(
    [("10", "A film", ["Drama"]), ("20", "Another", [])], schema=TITLE_SCHEMA, orient="row"
)


def events(rows, kind):
    full = [(user, item, time, kind, value) for user, item, time, value in rows]
    frame = pl.DataFrame(full, schema=EVENT_SCHEMA, orient="row")
    return EventLog("a log", frame, 1, "a test", "CC0-1.0", titles=TITLES)


def test_stars_become_actions_and_an_action_is_one_signal():
    rows = [("1", "10", 5, 1.0), ("1", "20", 6, 3.0), ("2", "10", 1, 4.0), ("2", "20", 9, 5.0)]
    watched = of_events(events(rows, "rating"), DataSettings())
    assert watched.actions.tolist() == [1, 2, 3, 4]
    assert watched.liked.tolist() == [False, False, True, True]
    assert watched.first_seen[1:].tolist() == [1, 6]
    assert watched.kinds is STARS
    assert len(STARS) == 4
    assert STARS.members.sum(1).tolist() == [0, 1, 1, 1, 1]
    assert watched.films["title"].to_list() == ["A film", "Another"]


def test_a_comment_is_the_only_action_of_its_log():
    rows = [("1", "20", 5, None), ("1", "10", 6, None)]
    watched = of_events(events(rows, "comment"), DataSettings(log="microlens_100k"))
    assert watched.actions.tolist() == [1, 1]
    assert watched.liked.all()
    assert watched.kinds.signals == ("comment",)
    assert watched.random is None


def test_a_log_without_stars_or_titles_is_refused():
    rows = [("1", "20", 5, None)]
    with pytest.raises(DataError, match="have no stars"):
        of_events(events(rows, "click"), DataSettings())
    bare = EventLog("bare", events(rows, "click").frame, 1, "", "")
    with pytest.raises(DataError, match="bare has no titles"):
        of_events(bare, DataSettings())


NOTHING = dict.fromkeys(
    ("click", "long_view", "like", "follow", "comment", "forward", "hate"), False
)


def impression(user, item, time_ms, play_ms, duration_ms, random=False, **done):
    return {
        "user": user, "item": item, "time_ms": time_ms, **NOTHING, **done,
        "play_ms": play_ms, "duration_ms": duration_ms, "random": random, "surface": 1,
    }  # fmt: skip


START = 1_650_000_000_000
VIDEOS = pl.DataFrame(
    [
        (9, 1, False, dt.date(2022, 4, 1), 5_000, ["12", "65"]),
        (10, 2, True, None, None, None),
    ],
    schema=VIDEO_SCHEMA,
    orient="row",
)


def shown(rows):
    frame = pl.DataFrame(rows, schema=IMPRESSION_SCHEMA)
    return ImpressionLog("kuairand_1k", frame, VIDEOS, "a test", "CC-BY-SA-4.0")


LOG = [
    impression(12, 10, START + 20, 0, 60_000, hate=True),
    impression(3, 9, START + 900, 5_000, 5_000, click=True, long_view=True, like=True),
    impression(3, 10, START + 100, 2_999, 60_000, random=True),
    impression(3, 9, START + 5_000, 2_000, 2_000, click=True, long_view=True),
]


def test_an_action_of_an_impression_is_all_that_was_true_of_it():
    watched = of_impressions(shown(LOG), DataSettings(log="kuairand_1k"))
    signals = np.array(watched.kinds.signals)
    told = [set(signals[watched.kinds.members[action]]) for action in watched.actions]
    # In the order of users and, inside a second, of milliseconds.
    assert watched.interactions.item_ids.to_list() == ["9", "10"]
    assert watched.interactions.items.tolist() == [2, 1, 1, 2]
    assert told == [
        {"skip", "up to 3 s", "up to 0.1 of the video"},
        {"click", "long_view", "like", "up to 7 s", "up to 1.5 of the video"},
        # Two seconds of a video of two seconds are no skip.
        {"click", "long_view", "up to 3 s", "up to 1.5 of the video"},
        {"skip", "hate", "up to 0 s", "up to 0.1 of the video"},
    ]
    assert watched.liked.tolist() == [False, True, True, False]
    assert watched.random is not None
    assert watched.random.tolist() == [True, False, False, False]
    assert not watched.kinds.members[0].any()


def test_every_impression_is_in_one_bucket_of_each_kind():
    rng = np.random.default_rng(0)
    rows = [
        impression(3, 9, START + 1_000 * place, int(played), int(length))
        for place, (played, length) in enumerate(
            zip(rng.integers(0, 90_000, 50), rng.integers(0, 60_000, 50), strict=True)
        )
    ]
    kinds = of_impressions(shown(rows), DataSettings(log="kuairand_1k")).kinds
    for ending in (" s", " of the video"):
        places = [index for index, name in enumerate(kinds.signals) if name.endswith(ending)]
        assert (kinds.members[1:, places].sum(1) == 1).all()


def test_tags_stand_in_for_genres_and_there_are_no_titles():
    films = of_impressions(shown(LOG), DataSettings(log="kuairand_1k")).films
    assert films.rows() == [("9", "", ["tag 12", "tag 65"]), ("10", "", [])]


def test_rare_items_are_left_out():
    settings = DataSettings(log="kuairand_1k", least_item_events=2)
    assert of_impressions(shown(LOG[1:]), settings).interactions.item_ids.to_list() == ["9"]


def test_the_share_of_events_whose_order_no_clock_tells():
    # By hand: two of user 1 share a second, those of different users do not count.
    rows = [("1", "10", 5, 1.0), ("1", "20", 5, 3.0), ("1", "10", 6, 3.0), ("2", "20", 6, 5.0)]
    interactions = of_events(events(rows, "rating"), DataSettings()).interactions
    assert share_of_tied(interactions) == 0.5
