"""YOOCHOOSE, RecSys Challenge 2015: clicks and purchases in the sessions of a web shop.

Two files without a header: ``yoochoose-clicks.dat`` has session, time, item and category;
``yoochoose-buys.dat`` session, time, item, price and quantity. A session is the user. Items have
the same numbers in both files. About half of the purchases have price 0 and quantity 0, which
means that both are unknown.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from okml.data.logs.files import TextFile
from okml.data.logs.lines import Layout, read_events
from okml.data.logs.origin import origin_of
from okml.data.logs.schema import EventLog, TimeSpan

CLICKS = Layout(
    separator=",",
    fields=("user", "time", "item", "category"),
    kind="click",
    span=TimeSpan.of_days("2014-01-01", "2014-12-31"),
    time="iso_milliseconds",
)
PURCHASES = replace(
    CLICKS,
    fields=("user", "time", "item", "value", "quantity"),
    kind="purchase",
    values=(0, 1e7),
)


def read_events_of(clicks: Path, purchases: Path, *, repair: str = "") -> pl.DataFrame:
    """Return clicks and purchases together, ordered by their time to the millisecond.

    Unlike in other logs, the rows are not in a file's order: there are two files, and whole
    seconds would lose the order of two clicks. Events in the same millisecond keep the order of
    their file, clicks before purchases. ``value`` is the price of a purchase in the file.

    Args:
        clicks: The file ``yoochoose-clicks.dat``.
        purchases: The file ``yoochoose-buys.dat``.
        repair: The advice in errors about a damaged file; a sentence.

    Raises:
        DataError: If a line is not of that form.
    """
    parts = [
        read_events(TextFile.open(path, repair=repair), layout)
        for path, layout in ((clicks, CLICKS), (purchases, PURCHASES))
    ]
    merged = pl.concat(parts).sort("time", "millisecond", maintain_order=True)
    return merged.drop("millisecond")


def load_yoochoose() -> EventLog:
    """Return the clicks and purchases of the challenge's training period."""
    names = ("yoochoose-clicks.dat", "yoochoose-buys.dat")
    origin = origin_of("yoochoose", names)
    clicks, purchases = (origin.paths[name] for name in names)
    return EventLog(
        name="yoochoose",
        frame=read_events_of(clicks, purchases, repair=origin.repair),
        time_resolution_seconds=1,
        source=origin.source,
        license=origin.license,
        notice=origin.notice,
    )
