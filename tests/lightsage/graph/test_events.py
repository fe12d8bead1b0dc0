from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given

from okml.errors import DataError
from okml.lightsage.graph.events import CLEANED_SCHEMA, clean
from tests.lightsage.graph.logs import MINUTE, events, logs, random_log, visit


def test_repeats_of_an_item_are_dropped_but_other_actions_stay() -> None:
    log = clean(
        events(
            *visit(1, 1, 2),
            {"ts": 3 * MINUTE, "item": 2, "action": "cart"},
            {"ts": 4 * MINUTE, "item": 2, "action": "purchase"},
            {"ts": 5 * MINUTE, "item": 1},
        )
    )
    assert log.select("item", "action", "position").rows() == [
        (1, "click", 0),
        (2, "click", 1),
        (2, "cart", 2),
        (2, "purchase", 3),
        (1, "click", 4),
    ]


def test_an_event_delivered_twice_counts_once_even_between_others() -> None:
    rows = visit(1, 2, 3)
    assert clean(events(*rows, *rows)).equals(clean(events(*rows)))


def test_events_without_time_are_dropped() -> None:
    log = clean(events({"item": 1}, {"item": 2, "ts": None}, {"item": 3, "ts": 5}))
    assert log["item"].to_list() == [1, 3]


def test_a_log_without_any_time_says_what_to_do() -> None:
    with pytest.raises(DataError, match=r"None of the log's 2 events has a time[\s\S]*place"):
        clean(events({"item": 1, "ts": None}, {"item": 2, "ts": None}))


def test_robots_are_dropped_whole() -> None:
    rows = [*visit(*range(6), user=7, session=1), *visit(1, 2, user=0, session=0)]
    log = clean(events(*rows), 5)
    assert log["user"].unique().to_list() == [0]
    assert clean(events(*rows), None)["user"].n_unique() == 2


def test_a_log_of_robots_alone_says_so() -> None:
    with pytest.raises(DataError, match="Every user has more than 2 events"):
        clean(events(*visit(1, 2, 3)), 2)


def test_missing_sessions_end_after_a_gap_or_with_the_user() -> None:
    times = [(0, 0), (0, 30), (0, 61), (1, 62)]  # user, minute
    rows = [{"user": u, "session": None, "ts": m * MINUTE, "item": m} for u, m in times]
    log = clean(events(*rows))
    assert log.select("item", "session", "position").rows() == [
        (0, 0, 0),
        (30, 0, 1),
        (61, 1, 0),
        (62, 2, 0),
    ]


def test_half_of_the_sessions_missing_is_an_error() -> None:
    with pytest.raises(DataError, match="some have none"):
        clean(events({"item": 1, "session": None}, {"item": 2}))


def test_a_session_of_two_users_is_an_error() -> None:
    with pytest.raises(DataError, match="Session 0 has events of several users"):
        clean(events({"item": 1, "user": 1}, {"item": 2, "user": 2}))


def test_events_at_one_time_keep_the_order_of_rows() -> None:
    rows = [{"item": item} for item in (5, 3, 4, 1)]
    assert clean(events(*rows))["item"].to_list() == [5, 3, 4, 1]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"item": None}, "item = None"),
        ({"item": -1}, "item = -1"),
        ({"user": -5}, "user = -5"),
        ({"ts": -1}, "ts = -1"),
        ({"action": "look"}, "action = 'look'"),
        ({"source": "ad"}, "source = 'ad'"),
        ({"from_item": -2}, "from_item = -2"),
        ({"episode": None}, "episode = None"),
    ],
)
def test_a_bad_value_is_named_with_its_row(bad: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=f"Row 1 of the shop's log has {words}"):
        clean(events({"item": 1}, {"item": 2, **bad}))


def test_other_columns_and_no_events_are_errors() -> None:
    with pytest.raises(DataError, match="must have the columns"):
        clean(pl.DataFrame({"user": [1]}))
    with pytest.raises(DataError, match="has no events"):
        clean(events().head(0))


@pytest.mark.parametrize("numbered", [True, False], ids=["sessions known", "sessions missing"])
def test_a_long_log_is_cleaned_as_a_whole(numbered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    log = random_log(2_000, 70, 40, seed=3)
    if not numbered:
        log = log.with_columns(session=pl.lit(None, pl.Int64))
    whole = clean(log)
    monkeypatch.setattr("okml.lightsage.graph.events.RANGE_EVENTS", 150)
    assert clean(log).equals(whole)
    assert whole["session"].n_unique() > 50


@given(logs)
def test_cleaning_again_changes_nothing(log: pl.DataFrame) -> None:
    once = clean(log)
    assert once.schema == CLEANED_SCHEMA
    again = clean(once.drop("position"))
    assert again.equals(once)
