"""The click sessions that ADER cut into 17 consecutive periods: YOOCHOOSE days, DIGINETICA weeks.

A line is ``session item``, both renumbered by the authors. There are no times: their script
sorted each period's clicks by time and then wrote the order alone. So the file's order is the
order of events, and ``time`` can only say the period: its number times its length, starting at 0
(``EventLog.clock`` is "period"). Sorting by user and time therefore gives back a session's true
order, differences are right to one period, and no date can be read.

Two more things their script decides: a session that runs over a border between periods has clicks
in both, and the first DIGINETICA file holds everything before the last 16 weeks.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import polars as pl

from okml.data.logs.files import TextFile
from okml.data.logs.lines import Layout, read_events
from okml.data.logs.origin import origin_of
from okml.data.logs.schema import EventLog, TimeSpan

PERIODS = 17
DAY, WEEK = 86_400, 7 * 86_400  # seconds
LAYOUT = Layout(
    separator=" ",
    fields=("user", "item"),
    kind="click",
    span=TimeSpan(0, PERIODS * WEEK),
)


def read_period(path: Path, period: int, seconds: int, *, repair: str = "") -> pl.DataFrame:
    """Return the clicks of one period in their order.

    Args:
        path: ``period_<period>.txt``.
        period: Its number, from 0.
        seconds: The length of a period.
        repair: What to do when it is damaged; a sentence.

    Raises:
        DataError: If a line is not two numbers.
    """
    layout = replace(LAYOUT, time=period * seconds)
    return read_events(TextFile.open(path, repair=repair), layout)


def load_ader(name: Literal["ader_yoochoose", "ader_diginetica"]) -> EventLog:
    """Return one of the two logs, its periods one after the other."""
    origin = origin_of(name)
    seconds = DAY if name == "ader_yoochoose" else WEEK
    periods = [
        read_period(origin.paths[f"period_{period}.txt"], period, seconds, repair=origin.repair)
        for period in range(PERIODS)
    ]
    return EventLog(
        name=name,
        frame=pl.concat(periods),
        time_resolution_seconds=seconds,
        source=origin.source,
        license=origin.license,
        notice=origin.notice,
        clock="period",
    )
