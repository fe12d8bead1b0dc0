"""Reading events from files in which every line is one event with the same fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from okml.data.logs.files import TextFile
from okml.data.logs.schema import EVENT_SCHEMA, Kind, TimeSpan, validate

# "seconds", "milliseconds": Unix time in them. "iso": 2010-10-19T23:55:27Z. "iso_milliseconds":
# 2014-04-07T10:51:09.277Z.
TimeFormat = Literal["seconds", "milliseconds", "iso", "iso_milliseconds"]
ISO_FORMATS = {"iso": "%Y-%m-%dT%H:%M:%SZ", "iso_milliseconds": "%Y-%m-%dT%H:%M:%S.%3fZ"}


@dataclass(frozen=True)
class Layout:
    """The format of the lines of a file.

    Attributes:
        separator: The separator of fields, one or more characters.
        fields: The fields' names in order. ``user``, ``item``, ``time`` and ``value`` are read if
            present; the others are only counted.
        kind: The kind of all events of the file.
        span: The range of valid times.
        header: The first line of the file; empty for a file without header.
        time: The format of the field ``time``, or the one time of all events of the file.
        values: The least and the largest valid value, if there is a field ``value``.
        numbered: Whether users and items are whole numbers.
    """

    separator: str
    fields: tuple[str, ...]
    kind: Kind
    span: TimeSpan
    header: str = ""
    time: TimeFormat | int = "seconds"
    values: tuple[float, float] | None = None
    numbered: bool = True


def read_events(path: Path, layout: Layout, *, member: str = "", repair: str = "") -> pl.DataFrame:
    """Return the validated events of a file in its order.

    Args:
        path: The file, compressed or not, or a zip archive.
        layout: The format of its lines.
        member: The file inside the archive; empty if ``path`` is the file.
        repair: The advice in errors about a damaged file; a sentence.

    Returns:
        A frame of ``EVENT_SCHEMA``; times written with milliseconds add the column ``millisecond``
        (Int16, 0 to 999), which whole seconds cannot hold.

    Raises:
        DataError: If a line does not match the layout; it names the first such line.
    """
    file = TextFile.open(path, member=member, repair=repair)
    lines, miscounted = file.fields(layout.separator, layout.fields, header=layout.header)
    problems = {miscounted: pl.col(miscounted)}
    if layout.numbered:
        for name in ("user", "item"):
            number = pl.col(name).cast(pl.UInt64, strict=False)
            problems[f"the {name} is no number"] = number.is_null()
    frame = file.collect(lines.select(**_columns(layout), **problems))
    validate(
        frame.select(EVENT_SCHEMA.names()),
        file,
        span=layout.span,
        values=layout.values,
        first_line=2 if layout.header else 1,
        also={name: frame[name] for name in problems},
    )
    return frame.drop(problems)


def _columns(layout: Layout) -> dict[str, pl.Expr]:
    """Return the event's columns; fields that cannot be parsed become null for ``validate``."""
    value = pl.lit(None) if layout.values is None else pl.col("value")
    columns = {
        "user": pl.col("user"),
        "item": pl.col("item"),
        "time": pl.lit(layout.time),
        "kind": pl.lit(layout.kind),
        "value": value.cast(pl.Float32, strict=False),
    }
    if layout.time == "seconds":
        columns["time"] = pl.col("time").cast(pl.Int64, strict=False)
    elif layout.time == "milliseconds":
        moment = pl.col("time").cast(pl.Int64, strict=False)
        columns["time"] = moment // 1000
        columns["millisecond"] = (moment % 1000).cast(pl.Int16)
    elif isinstance(layout.time, str):
        text = pl.col("time")
        moment = text.str.to_datetime(ISO_FORMATS[layout.time], time_unit="ms", strict=False)
        columns["time"] = moment.dt.epoch("s")
        if layout.time == "iso_milliseconds":
            columns["millisecond"] = (moment.dt.epoch("ms") % 1000).cast(pl.Int16)
    columns["time"] = columns["time"].cast(pl.Int64)
    return columns
