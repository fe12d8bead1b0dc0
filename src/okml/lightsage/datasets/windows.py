"""Splits of a log by time into training, validation and test."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from okml.lightsage.datasets.shop_data import PAIR_SCHEMA
from okml.lightsage.graph.clicks import transitions
from okml.lightsage.graph.events import Cleaned, clean
from okml.lightsage.graph.settings import CleaningSettings, StrongSettings


class Windows(NamedTuple):
    """Training log, and validation and test pairs (``PAIR_SCHEMA``)."""

    train: Cleaned
    valid: pl.DataFrame
    test: pl.DataFrame


def split_by_time(
    events: pl.DataFrame,
    valid_from: int,
    test_from: int,
    strong: StrongSettings | None = None,
    cleaning: CleaningSettings | None = None,
) -> Windows:
    """Split a log at two times; each part is cleaned alone, so later events affect no earlier part.

    Args:
        events: Log of events, ``EVENT_SCHEMA``.
        valid_from: Start of the validation in milliseconds.
        test_from: Start of the test in milliseconds.
        strong: Rules of the transitions.
        cleaning: Settings of the cleaning.
    """
    # Events without a time go to the training part, whose cleaning counts them.
    early = events.filter(pl.col("ts").is_null() | (pl.col("ts") < valid_from))
    middle = events.filter(pl.col("ts").is_between(valid_from, test_from, closed="left"))
    late = events.filter(pl.col("ts") >= test_from)
    return Windows(
        clean(early, cleaning),
        pairs_of(middle, strong, cleaning),
        pairs_of(late, strong, cleaning),
    )


def pairs_of(
    events: pl.DataFrame,
    strong: StrongSettings | None = None,
    cleaning: CleaningSettings | None = None,
) -> pl.DataFrame:
    """Return the strong transitions of a part of a log, each once per user; ``PAIR_SCHEMA``."""
    if events.is_empty():
        return PAIR_SCHEMA.to_frame()
    moves = transitions(clean(events, cleaning), strong)
    return moves.select(PAIR_SCHEMA.names()).unique().sort(PAIR_SCHEMA.names())
