"""Who went to what on purpose: the pairs of user and item that Swing and cosine work on."""

from __future__ import annotations

import polars as pl

from okml.lightsage.graph.events import PAGES, Cleaned
from okml.lightsage.graph.settings import SwingSettings

PAIR_COLUMNS = ("user", "item")


def user_items(log: Cleaned, settings: SwingSettings | None = None) -> pl.DataFrame:
    """Return the distinct pairs of ``user`` (Int64) and ``item`` (Int32), sorted.

    Pages count when they were opened from one of ``settings.sources``; carts and purchases always.
    """
    settings = settings or SwingSettings()
    strong = pl.col("source").is_in(settings.sources) | ~pl.col("action").is_in(PAGES)
    return log.frame.filter(strong).select(PAIR_COLUMNS).unique().sort(PAIR_COLUMNS)
