"""Logs of stars, comments and impressions in one form."""

import datetime as dt
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from okml import steps
from okml.data.logs import (
    EVENT_SCHEMA,
    IMPRESSION_SCHEMA,
    TITLE_SCHEMA,
    VIDEO_SCHEMA,
    EventLog,
    ImpressionLog,
)
from okml.errors import DataError
from okml.ledger import DataUsed
from okml.video_workshop.common import data
from okml.video_workshop.common.data import STARS, of_events, of_impressions
from okml.video_workshop.common.describe import share_of_tied
from okml.video_workshop.config import PROFILES
from okml.video_workshop.settings.data import WatchLogSettings

TITLES = pl.DataFrame(
    [("10", "A film", ["Drama"]), ("20", "Another", [])], schema=TITLE_SCHEMA, orient="row"
)


def events(rows, kind):
    full = [(user, item, time, kind, value) for user, item, time, value in rows]
    frame = pl.DataFrame(full, schema=EVENT_SCHEMA, orient="row")
    return EventLog("a log", frame, 1, "a test", "CC0-1.0", titles=TITLES)


def test_stars_become_actions_and_an_action_is_one_signal():
    rows = [("1", "10", 5, 1.0), ("1", "20", 6, 3.0), ("2", "10", 1, 4.0), ("2", "20", 9, 5.0)]
    watched = of_events(events(rows, "rating"), WatchLogSettings())
    assert watched.actions.tolist() == [1, 2, 3, 4]
    assert watched.liked.tolist() == [False, False, True, True]
    assert watched.first_seen[1:].tolist() == [1, 6]
    assert watched.kinds is STARS
    assert len(STARS) == 4
    assert STARS.members.sum(1).tolist() == [0, 1, 1, 1, 1]
    assert watched.films["title"].to_list() == ["A film", "Another"]


def test_half_stars_are_actions_too():
    rows = [("1", "10", 5, 0.5), ("1", "20", 6, 4.5), ("2", "10", 1, 1.5), ("2", "20", 9, 3.5)]
    watched = of_events(events(rows, "rating"), WatchLogSettings(log="ml_20m"))
    assert watched.actions.tolist() == [1, 3, 1, 2]  # 0 would be padding


def test_a_comment_is_the_only_action_of_its_log():
    rows = [("1", "20", 5, None), ("1", "10", 6, None)]
    watched = of_events(events(rows, "comment"), WatchLogSettings(log="microlens_100k"))
    assert watched.actions.tolist() == [1, 1]
    assert watched.liked.all()
    assert watched.kinds.signals == ("comment",)
    assert watched.random is None


def test_a_log_without_stars_or_titles_is_refused():
    rows = [("1", "20", 5, None)]
    with pytest.raises(DataError, match="have no stars"):
        of_events(events(rows, "click"), WatchLogSettings())
    bare = EventLog("bare", events(rows, "click").frame, 1, "", "")
    with pytest.raises(DataError, match="bare has no titles"):
        of_events(bare, WatchLogSettings())


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
    watched = of_impressions(shown(LOG), WatchLogSettings(log="kuairand_1k"))
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
    kinds = of_impressions(shown(rows), WatchLogSettings(log="kuairand_1k")).kinds
    for ending in (" s", " of the video"):
        places = [index for index, name in enumerate(kinds.signals) if name.endswith(ending)]
        assert (kinds.members[1:, places].sum(1) == 1).all()


def test_tags_stand_in_for_genres_and_there_are_no_titles():
    films = of_impressions(shown(LOG), WatchLogSettings(log="kuairand_1k")).films
    assert films.rows() == [("9", "", ["tag 12", "tag 65"]), ("10", "", [])]


def test_an_item_joins_the_catalog_with_its_nth_event():
    """By hand: video 9 is shown at 100, 200 and 900, video 10 at 300 and, late, at 800."""
    shows = [(1, 9, 200), (2, 9, 100), (3, 10, 300), (1, 9, 900), (2, 10, 800)]
    rows = [impression(user, item, START + 1_000 * at, 0, 60_000) for user, item, at in shows]
    settings = WatchLogSettings(log="kuairand_1k", least_item_events=2)
    watched = of_impressions(shown(rows), settings)
    events = watched.interactions
    start = START // 1_000
    found = list(zip(events.users(), events.items, events.times - start, strict=True))
    assert found == [(0, 1, 200), (0, 1, 900), (1, 2, 800)]
    assert watched.dropped == pytest.approx(2 / 5)
    assert (watched.first_seen[1:] - start).tolist() == [200, 800]


def test_the_catalog_of_a_moment_knows_nothing_of_what_comes():
    """Cutting the log at any moment leaves the events before it that the whole log has."""
    rng = np.random.default_rng(0)
    rows = [(str(rng.integers(5)), str(10 * rng.integers(1, 3)), int(time), 3.0)
            for time in np.sort(rng.integers(30, size=40))]  # fmt: skip
    settings = WatchLogSettings(least_item_events=7)
    whole = of_events(events(rows, "rating"), settings).interactions
    for cut in (15, 20, 28):
        before = of_events(events([row for row in rows if row[2] < cut], "rating"), settings)
        early = before.interactions
        assert len(early) == (whole.times < cut).sum() > 0
        names = [
            sorted(zip(log.user_ids.gather(log.users()), log.item_ids.gather(log.items - 1),
                       log.times, strict=True))
            for log in (early, whole)
        ]  # fmt: skip
        assert names[0] == [event for event in names[1] if event[2] < cut]


def test_by_default_nothing_is_left_out():
    for settings in (
        WatchLogSettings(log="kuairand_1k"),
        PROFILES["smoke"].data,
        PROFILES["cpu"].data,
    ):
        assert settings.least_item_events is None
    watched = of_impressions(shown(LOG), WatchLogSettings(log="kuairand_1k", least_item_events=1))
    assert len(watched.interactions) == len(LOG)
    assert watched.dropped == 0


def test_the_share_of_events_whose_order_no_clock_tells():
    # By hand: two of user 1 share a second, those of different users do not count.
    rows = [("1", "10", 5, 1.0), ("1", "20", 5, 3.0), ("1", "10", 6, 3.0), ("2", "20", 6, 5.0)]
    interactions = of_events(events(rows, "rating"), WatchLogSettings()).interactions
    assert share_of_tied(interactions) == 0.5


def test_the_files_behind_a_cataloged_log_are_named_with_source_and_hash(monkeypatch):
    fetched = {"log.csv": SimpleNamespace(source="a mirror", sha256="9" * 64)}
    monkeypatch.setattr(steps, "fetched_from", lambda name, files: fetched)
    assert data.files_used("kuairand_pure") == {
        "kuairand_pure/log.csv": DataUsed(source="a mirror", sha256="9" * 64)
    }


def test_events_of_one_second_are_drawn_where_no_finer_clock_tells_their_order():
    rows = [("1", "10" if place % 2 else "20", 5, 1.0 + place % 4) for place in range(64)]
    in_file = [row[3] for row in rows]

    def values(kind="rating", **settings):
        watched = of_events(events(rows, kind), WatchLogSettings(**settings))
        return watched.interactions.values.tolist()

    drawn = values()
    assert sorted(drawn) == sorted(in_file)
    assert drawn == values()
    assert drawn not in (in_file, values(tie_seed=1))
    assert values(tie_rule="file") == in_file
    # Comments of MicroLens come in the order of the millisecond.
    assert values("comment", log="microlens_100k") == in_file
