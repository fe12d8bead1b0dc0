"""Weak edges: any two consecutive pages of a session, the baseline of strong edges."""

from __future__ import annotations

import polars as pl

from okml.lightsage.graph.edges import in_order
from okml.lightsage.graph.events import DAY, PAGES, Cleaned


def weak_edges(log: Cleaned) -> pl.DataFrame:
    """Count the user-days on which one page followed another in a session."""
    pages = log.frame.lazy().filter(pl.col("action").is_in(PAGES))
    steps = (
        pages.with_columns(before=pl.col("item").shift(), visit=pl.col("session").shift())
        .filter(pl.col("session") == pl.col("visit"), pl.col("item") != pl.col("before"))
        .select("user", item="before", neighbor="item", day=pl.col("ts") // DAY)
    )
    counted = steps.unique().group_by("item", "neighbor").agg(weight=pl.len().cast(pl.Float64))
    return in_order(counted.collect())
