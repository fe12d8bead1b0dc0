"""Logs of impressions: one row for each video shown, with the user's feedback.

==============  =======  =====================================================================
column          type     meaning
==============  =======  =====================================================================
`user`          UInt32   the user who saw the video
`item`          UInt32   the video
`time_ms`       Int64    Unix milliseconds, UTC
`click` ...     Boolean  the user's feedback, one column for each of ``SIGNALS``
`play_ms`       Int64    milliseconds watched; repeats count, so it can exceed the duration
`duration_ms`   Int64    length of the video
`random`        Boolean  whether a uniformly drawn video had replaced the recommended one
`surface`       UInt8    the tab of the app that showed it
==============  =======  =====================================================================

``EventLog`` holds only actions; here most rows are videos without feedback, which click models and
off-policy estimates need.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from okml.data.logs.schema import require_schema
from okml.errors import DataError

SIGNALS = ("click", "long_view", "like", "follow", "comment", "forward", "hate")
IMPRESSION_SCHEMA = pl.Schema(
    {
        "user": pl.UInt32(),
        "item": pl.UInt32(),
        "time_ms": pl.Int64(),
        **dict.fromkeys(SIGNALS, pl.Boolean()),
        "play_ms": pl.Int64(),
        "duration_ms": pl.Int64(),
        "random": pl.Boolean(),
        "surface": pl.UInt8(),
    }
)
VIDEO_SCHEMA = pl.Schema(
    {
        "item": pl.UInt32(),
        "author": pl.Int64(),  # null where the file has none, as in all columns below
        "advertisement": pl.Boolean(),
        "uploaded": pl.Date(),
        "duration_ms": pl.Int64(),
        "tags": pl.List(pl.String()),  # categories of the service, by number
    }
)


@dataclass(frozen=True)
class ImpressionLog:
    """A log of impressions, with its source and terms.

    Attributes:
        name: The catalog entry it was read from.
        frame: The impressions ordered by time, ``IMPRESSION_SCHEMA``.
        videos: The features of videos that are known before any impression, ``VIDEO_SCHEMA``.
        source: The source that served the files.
        license: The id of the data's license.
        notice: The attribution or condition to show beside results.

    Raises:
        DataError: If a table does not have its columns and types, or there are no impressions.
    """

    name: str
    frame: pl.DataFrame
    videos: pl.DataFrame
    source: str
    license: str
    notice: str = ""

    def __post_init__(self) -> None:
        require_schema(self.frame, IMPRESSION_SCHEMA, f"the impressions of {self.name}")
        require_schema(self.videos, VIDEO_SCHEMA, f"the videos of {self.name}")
        if self.frame.is_empty():
            raise DataError(f"{self.name} has no impressions.")
