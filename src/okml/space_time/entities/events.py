"""Dated events of the BSD calendar: a stand-in for the Headlines set."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from okml.errors import DataError
from okml.space_time.entities.base import EntitySet
from okml.space_time.entities.columns import decade, fractional_year, uniform_split
from okml.space_time.entities.tables import lines_of, packaged
from okml.space_time.names import with_period

SOURCE = "BSD calendar events (BSD license), from the package calendar"
SPLIT_SEED = 0
FILES = ("calendar.history", "calendar.music", "calendar.birthday")

# A day, a tab, the event, and the year at the very end.
_EVENT = re.compile(r"^(\d\d)/(\d\d)\t(.+?),?\s+(?:in\s+)?(\d{4})\.?$")
_YEAR = re.compile(r"\b\d{4}\b")


def load_events(path: Path | None = None) -> EntitySet:
    """Load events with their date; the year is cut off the text, and a full stop added.

    Events that mention another year are left out: the answer, or a hint, would be in the text.

    Args:
        path: Folder with the files in ``FILES``; by default the data cache.

    Raises:
        DataError: If a file cannot be had or holds no events.
    """
    rows = [
        (file.removeprefix("calendar."), *event)
        for file in FILES
        for event in _read(path / file if path else packaged("calendar", file))
    ]
    frame = pl.DataFrame(
        rows,
        schema={
            "topic": pl.String,
            "year": pl.Int64,
            "month": pl.Int64,
            "day": pl.Int64,
            "entity": pl.String,
        },
        orient="row",
    ).unique("entity", keep="first", maintain_order=True)
    frame = frame.with_columns(date=pl.date("year", "month", "day"))
    return EntitySet(
        name="events",
        kind="time",
        frame=frame.with_columns(
            date=fractional_year("date"),
            decade=decade("date"),
            is_test=pl.Series(uniform_split(frame.height, SPLIT_SEED)),
        ),
        targets=("date",),
        region="decade",
        entity_type="topic",
        split_group=None,
        source=SOURCE,
    )


def _read(path: Path) -> list[tuple[int, int, int, str]]:
    """Return year, month, day and text of the events in one file."""
    events = [event for entry in _entries(lines_of(path)) if (event := _event(entry))]
    if not events:
        raise DataError(f"{path} holds no dated events.", "Pass a file of the package calendar.")
    return events


def _entries(lines: list[str]) -> Iterator[str]:
    """Join each entry with its continuation lines, which begin with a tab."""
    entry = ""
    for line in lines:
        if line.startswith("\t"):
            entry = f"{entry} {line.strip()}"
        else:
            yield entry
            entry = line.rstrip()
    yield entry


def _event(entry: str) -> tuple[int, int, int, str] | None:
    found = _EVENT.match(entry)
    if not found or _YEAR.search(found[3]):
        return None
    month, day, text, year = int(found[1]), int(found[2]), found[3], int(found[4])
    return year, month, day, with_period(text)
