"""Gowalla check-ins as SNAP serves them: user, ISO time (UTC), latitude, longitude, place.

The file lists every user's check-ins newest first; times are to the second.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from okml.data.logs.files import TextFile
from okml.data.logs.lines import Layout, read_events
from okml.data.logs.origin import origin_of
from okml.data.logs.schema import EventLog, TimeSpan

FILE = "loc-gowalla_totalCheckins.txt.gz"
LAYOUT = Layout(
    separator="\t",
    fields=("user", "time", "latitude", "longitude", "item"),
    kind="check_in",
    span=TimeSpan.of_days("2008-01-01", "2011-12-31"),
    time="iso",
)


def read_check_ins(path: Path, *, repair: str = "") -> pl.DataFrame:
    """Return all check-ins, in the file's order; the file may be compressed or not.

    Raises:
        DataError: If a line is not of that form.
    """
    return read_events(TextFile.open(path, repair=repair), LAYOUT)


def merge_visits(check_ins: pl.DataFrame) -> pl.DataFrame:
    """Return one event for each user and place: the most recent check-in.

    RecBole's "merged" Gowalla, which STRec used, keeps the first row of a user and place, and the
    file lists the newest first. A sequence is then one of *last* visits: a place that a user
    returns to moves to the end.

    Args:
        check_ins: The check-ins, in any order.

    Returns:
        The remaining events in their order; ``value`` is the number of merged check-ins of each.
    """
    pair = ("user", "item")
    newest = pl.col("time") == pl.col("time").max().over(pair)
    return (
        check_ins.with_columns(value=pl.len().over(pair).cast(pl.Float32))
        .filter(newest)
        .unique(pair, keep="first", maintain_order=True)
    )


def load_check_ins() -> EventLog:
    """Return Gowalla with every check-in."""
    origin = origin_of("gowalla", [FILE])
    return EventLog(
        name="gowalla",
        frame=read_check_ins(origin.paths[FILE], repair=origin.repair),
        time_resolution_seconds=1,
        source=origin.source,
        license=origin.license,
        notice=origin.notice,
    )


def load_merged() -> EventLog:
    """Return Gowalla with one event for each user and place; see ``merge_visits``."""
    log = load_check_ins()
    return EventLog(
        name="gowalla_merged",
        frame=merge_visits(log.frame),
        time_resolution_seconds=1,
        source=f"{log.source}, one event a user and place",
        license=log.license,
        notice=log.notice,
    )
