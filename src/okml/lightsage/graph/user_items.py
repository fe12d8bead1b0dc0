"""The pairs of user and item from strong actions, the input of Swing and cosine."""

from __future__ import annotations

import polars as pl

from okml.lightsage.graph.events import PAGES, Cleaned
from okml.lightsage.graph.settings import SwingSettings

PAIR_COLUMNS = ("user", "item")


def user_items(log: Cleaned, settings: SwingSettings | None = None) -> pl.DataFrame:
    """Return the distinct pairs of ``user`` (Int64) and ``item`` (Int32), sorted.

    Page views count if their source is in ``settings.sources``; carts and purchases always do.
    """
    settings = settings or SwingSettings()
    strong = pl.col("source").is_in(settings.sources) | ~pl.col("action").is_in(PAGES)
    return log.frame.filter(strong).select(PAIR_COLUMNS).unique().sort(PAIR_COLUMNS)
