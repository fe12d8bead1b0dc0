"""The click sessions that ADER cut into 17 consecutive periods: YOOCHOOSE days, DIGINETICA weeks.

A line is ``session item``, both renumbered by the authors. There are no times: their script
sorted each period's clicks by time and wrote the order alone. So ``time`` is the number of the
period, from 0, times its length (``EventLog.clock`` is "period"). A stable sort by user and time
keeps a session's true order, differences are right to one period, and there are no dates.

Their script also decides that a session which crosses a border of periods has clicks in both, and
that the first DIGINETICA file holds everything before the last 16 weeks.
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
        path: The file ``period_<period>.txt``.
        period: The number of the period, from 0.
        seconds: The length of a period, in seconds.
        repair: The advice in errors about a damaged file; a sentence.

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
