import polars as pl
import pytest

from okml.data.logs import EVENT_SCHEMA, TITLE_SCHEMA, EventLog, TimeSpan, validate
from okml.data.logs.files import TextFile
from okml.errors import DataError

DAY = 86_400


def events(rows: list[tuple[str, str, int]], kind: str = "click") -> pl.DataFrame:
    full = [(user, item, time, kind, None) for user, item, time in rows]
    return pl.DataFrame(full, schema=EVENT_SCHEMA, orient="row")


def log(frame: pl.DataFrame, **changes) -> EventLog:
    values = {"time_resolution_seconds": 1, "source": "a test", "license": "CC0-1.0"}
    return EventLog(name="toy", frame=frame, **{**values, **changes})


def test_ties_are_pairs_of_one_users_events_at_one_time():
    found = log(
        events(
            [("b", "x", DAY), ("a", "x", 5), ("b", "y", DAY), ("b", "z", 3 * DAY), ("a", "y", 6)]
        )
    )
    # a: 5-6; b: 1 day-1 day (tied), 1 day-3 days
    assert found.tied_share == pytest.approx(1 / 3)


def test_items_go_by_their_titles_where_the_log_has_them():
    titles = pl.DataFrame([("x", "Heat", ["Crime"])], schema=TITLE_SCHEMA, orient="row")
    frame = events([("a", "x", 1), ("a", "y", 2)])
    assert log(frame, titles=titles).item_names(["y", "x"]) == ["item y", "Heat"]
    assert log(frame).item_names(["x"]) == ["item x"]


def test_single_events_have_no_pairs_to_tie():
    assert log(events([("a", "x", 1), ("b", "x", 1)])).tied_share == 0


def test_a_frame_of_other_columns_or_types_is_refused():
    frame = events([("a", "x", 1)])
    with pytest.raises(DataError, match="must have the columns"):
        log(frame.drop("kind"))
    with pytest.raises(DataError, match="must have the columns"):
        log(frame.cast({"time": pl.Int32}))
    with pytest.raises(DataError, match="titles of toy must have"):
        log(frame, titles=pl.DataFrame({"item": ["x"]}))
    with pytest.raises(DataError, match="has no events"):
        log(frame.clear())
    titles = pl.DataFrame([("x", "Film X", [])], schema=TITLE_SCHEMA, orient="row")
    assert log(frame, titles=titles).titles is titles


def test_a_span_of_days_includes_its_last_second():
    span = TimeSpan.of_days("1970-01-02", "1970-01-03")
    assert (span.first, span.last) == (DAY, 3 * DAY - 1)


SPAN = TimeSpan(0, 100)


@pytest.mark.parametrize(
    ("column", "bad", "words"),
    [
        ("user", None, "user is missing"),
        ("user", "", "user is missing"),
        ("item", "", "item is missing"),
        ("time", None, "time is missing or cannot be read"),
        ("time", 101, "time is impossible, it must lie in 1970-01-01 to 1970-01-01"),
        ("time", -1, "time is impossible"),
        ("kind", "love", "kind of event is unknown"),
        ("value", None, "value is missing or no number"),
        ("value", float("nan"), "value is impossible"),
        ("value", float("inf"), "value is impossible"),
        ("value", 6.0, "value is impossible, it must lie in 1 to 5"),
    ],
)
def test_the_first_bad_row_is_named_by_its_line(write, column, bad, words):
    path = write("log.txt", "header\nzero\none\ntwo\n")
    good = events([("a", "x", 0)] * 3, kind="rating").with_columns(value=pl.lit(5.0, pl.Float32))
    file = TextFile.open(path, repair="Do this.")
    validate(good, file, span=SPAN, values=(1, 5), first_line=2)
    rows = good.to_dicts()
    rows[1][column] = rows[2][column] = bad
    frame = pl.DataFrame(rows, schema=EVENT_SCHEMA)
    with pytest.raises(DataError) as caught:
        validate(frame, file, span=SPAN, values=(1, 5), first_line=2)
    assert caught.value.message.startswith(f"{path}, line 3: ")
    assert words in caught.value.message
    assert caught.value.message.endswith("'one'")
    assert caught.value.hint == "Do this."


def test_the_earlier_of_two_bad_rows_is_named(write):
    file = TextFile.open(write("log.txt", "zero\none\n"))
    frame = events([("a", "x", 1_000), ("", "x", 1)])
    with pytest.raises(DataError, match="line 1: the time is impossible"):
        validate(frame, file, span=SPAN)
