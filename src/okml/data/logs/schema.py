"""The common form of event logs: a polars frame with one row for each event.

========  ========  ==========================================================================
column    type      meaning
========  ========  ==========================================================================
`user`    String    the user id in the file; in session logs the session id
`item`    String    the item id in the file
`time`    Int64     Unix seconds, UTC; see ``Clock`` for logs without timestamps
`kind`    String    ``rating``, ``check_in``, ``click``, ``purchase`` or ``comment``
`value`   Float32   the stars of a rating, the price of a purchase, ...; null where there is none
========  ========  ==========================================================================

Rows are in the file's order. Events of one user often share a second (half of MovieLens does), so
that order is part of the data.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Self

import polars as pl

from okml.data.logs.files import TextFile
from okml.errors import DataError

Kind = Literal["rating", "check_in", "click", "purchase", "comment"]
KINDS: tuple[Kind, ...] = ("rating", "check_in", "click", "purchase", "comment")

# "unix": `time` is a Unix time. "period": the data state only the period (a day, a week) of an
# event; `time` is the number of the period times its length, so differences are right to one
# period and there are no calendar dates. "order": the data state only the order of a user's
# events; `time` is the position in it, and times of two users cannot be compared.
Clock = Literal["unix", "period", "order"]

EVENT_SCHEMA = pl.Schema(
    {
        "user": pl.String(),
        "item": pl.String(),
        "time": pl.Int64(),
        "kind": pl.String(),
        "value": pl.Float32(),
    }
)
TITLE_SCHEMA = pl.Schema(
    {"item": pl.String(), "title": pl.String(), "genres": pl.List(pl.String())}
)


@dataclass(frozen=True)
class TimeSpan:
    """The range of valid times of a data set, in Unix seconds, both ends included."""

    first: int
    last: int

    @classmethod
    def of_days(cls, first: str, last: str) -> Self:
        """Return the span from the start of one ISO day to the end of another, in UTC."""
        return cls(
            _start_of_day(dt.date.fromisoformat(first)),
            _start_of_day(dt.date.fromisoformat(last) + dt.timedelta(days=1)) - 1,
        )


def _start_of_day(day: dt.date) -> int:
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp())


@dataclass(frozen=True)
class EventLog:
    """A log in the common form, with its source and terms.

    Attributes:
        name: The catalog entry it was read from.
        frame: The events, ``EVENT_SCHEMA``.
        time_resolution_seconds: The resolution of the file's times: 1, or 86,400 for days.
        source: The source of the files, as described by ``okml.data.fetched_from``.
        license: The id of the data's license.
        notice: The attribution or condition to show beside results.
        titles: The titles of items, ``TITLE_SCHEMA``; ``None`` if the data set has none.
        clock: Whether ``time`` is a Unix time, a period or a position in the user's history.

    Raises:
        DataError: If a table does not have its columns and types, or there are no events.
    """

    name: str
    frame: pl.DataFrame
    time_resolution_seconds: int
    source: str
    license: str
    notice: str = ""
    titles: pl.DataFrame | None = None
    clock: Clock = "unix"

    def __post_init__(self) -> None:
        require_schema(self.frame, EVENT_SCHEMA, f"the events of {self.name}")
        if self.titles is not None:
            require_schema(self.titles, TITLE_SCHEMA, f"the titles of {self.name}")
        if self.frame.is_empty():
            raise DataError(f"{self.name} has no events.")

    def item_names(self, items: Iterable[str]) -> list[str]:
        """Return the titles of items, and "item 7" in place of a title that the log lacks."""
        known: dict[str, str] = {}
        if self.titles is not None:
            known = dict(self.titles.select("item", "title").iter_rows())
        return [known.get(item, f"item {item}") for item in items]

    @property
    def tied_share(self) -> float:
        """The share of pairs of a user's consecutive events with equal times.

        Their order is that of the file.
        """
        ordered = self.frame.lazy().select("user", "time").sort("user", "time")
        same_user = pl.col("user") == pl.col("user").shift()
        same_time = pl.col("time") == pl.col("time").shift()
        pairs, tied = (
            ordered.select(same_user.sum().alias("pairs"), (same_user & same_time).sum())
            .collect()
            .row(0)
        )
        return tied / pairs if pairs else 0.0


def validate(
    frame: pl.DataFrame,
    file: TextFile,
    *,
    span: TimeSpan,
    values: tuple[float, float] | None = None,
    first_line: int = 1,
    also: Mapping[str, pl.Series] | None = None,
) -> None:
    """Check every event of one file, whose rows are its lines in order.

    Fields that could not be parsed are null in ``frame``, so that checks of whole columns find the
    first bad line of twenty million in a second.

    Args:
        frame: The events, ``EVENT_SCHEMA``.
        file: The file they were read from, for the message.
        span: The range of valid times.
        values: The least and the largest valid value; ``None`` if events have no value.
        first_line: The number of the first row's line, counted from one.
        also: The reader's own checks by description: whether each row has the problem, ``[n]``.

    Raises:
        DataError: If a line is bad; it names the file, the first bad line, its problem and text.
    """
    require_schema(frame, EVENT_SCHEMA, f"what was read from {file.name}")
    if frame.is_empty():
        raise DataError(f"{file.name} has no events.", file.repair)
    checks: dict[str, pl.Expr] = {problem: pl.lit(rows) for problem, rows in (also or {}).items()}
    checks["the user is missing"] = _blank("user")
    checks["the item is missing"] = _blank("item")
    checks["the time is missing or cannot be read"] = pl.col("time").is_null()
    checks[f"the time is impossible, it must lie in {_days(span)}"] = ~pl.col("time").is_between(
        span.first, span.last
    )
    checks["the kind of event is unknown"] = ~pl.col("kind").is_in(KINDS).fill_null(False)
    if values is not None:
        checks["the value is missing or no number"] = pl.col("value").is_null()
        # NaN parses as a number and would spread to every sum.
        checks[f"the value is impossible, it must lie in {values[0]:g} to {values[1]:g}"] = (
            ~pl.col("value").is_between(*values) | pl.col("value").is_nan()
        )
    raise_first(frame, file, checks, first_line)


def raise_first(
    frame: pl.DataFrame, file: TextFile, checks: Mapping[str, pl.Expr], first_line: int
) -> None:
    """Raise for the first row of a file that fails one of the checks.

    Args:
        frame: The parsed file, one row for each line.
        file: The file, for the message.
        checks: The problems by description, each an expression that is true for a bad row.
        first_line: The number of the first row's line, counted from one.

    Raises:
        DataError: If a line is bad; it names the file, the first bad line, its problem and text.
    """
    first_bad = frame.select(
        pl.arg_where(bad.fill_null(False)).min().alias(problem) for problem, bad in checks.items()
    ).row(0, named=True)
    found = {problem: row for problem, row in first_bad.items() if row is not None}
    if found:
        problem, row = min(found.items(), key=lambda pair: pair[1])
        raise file.bad_line(first_line + row, problem)


def _blank(column: str) -> pl.Expr:
    return pl.col(column).is_null() | (pl.col(column) == "")


def _days(span: TimeSpan) -> str:
    return f"{_day_of(span.first)} to {_day_of(span.last)}"


def _day_of(time: int) -> dt.date:
    return dt.datetime.fromtimestamp(time, dt.UTC).date()


def require_schema(frame: pl.DataFrame, schema: pl.Schema, what: str) -> None:
    """Raise unless a table has exactly the columns and types of a schema.

    Raises:
        DataError: If it has not; the message starts with ``what``.
    """
    if frame.schema != schema:
        raise DataError(
            f"{what[0].upper()}{what[1:]} must have the columns {dict(schema)}.",
            f"They have {dict(frame.schema)}.",
        )
