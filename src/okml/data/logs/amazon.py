"""Amazon Electronics, 2014: stars by reviewers, one line ``user,item,rating,time``, no header.

Times are the starts of days, so the events of a user's day are in the order of the file, which is
sorted by item and not by time.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from okml.data.logs.files import TextFile
from okml.data.logs.lines import Layout, read_events
from okml.data.logs.origin import origin_of
from okml.data.logs.schema import EventLog, TimeSpan

LAYOUT = Layout(
    separator=",",
    fields=("user", "item", "value", "time"),
    kind="rating",
    span=TimeSpan.of_days("1995-01-01", "2014-12-31"),
    values=(1, 5),
    numbered=False,  # A2CX7LUOHB2NDG, 059400232X
)


def read_ratings(path: Path, *, repair: str = "") -> pl.DataFrame:
    """Return the events of ``ratings_Electronics.csv``, or of another category of that release.

    Raises:
        DataError: If a line is not of that form.
    """
    return read_events(TextFile.open(path, repair=repair), LAYOUT)


def load_electronics() -> EventLog:
    """Return Amazon Electronics, 2014."""
    file = "ratings_Electronics.csv"
    origin = origin_of("amazon_electronics", [file])
    return EventLog(
        name="amazon_electronics",
        frame=read_ratings(origin.paths[file], repair=origin.repair),
        time_resolution_seconds=86_400,
        source=origin.source,
        license=origin.license,
        notice=origin.notice,
    )
