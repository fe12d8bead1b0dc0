"""A log cut in time: what happened first trains, what happened later tests."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from okml.lightsage.datasets.shop_data import PAIR_SCHEMA
from okml.lightsage.graph.events import Cleaned, clean
from okml.lightsage.graph.settings import CleaningSettings, StrongSettings
from okml.lightsage.graph.strong import transitions


class Windows(NamedTuple):
    """Training log, and pairs of validation and test (``PAIR_SCHEMA``)."""

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
    """Cut a log at two moments. Each part is cleaned alone, so no later event touches an earlier.

    Args:
        events: ``EVENT_SCHEMA``.
        valid_from: Milliseconds; training ends before.
        test_from: Milliseconds; validation ends before.
        strong: What counts as a transition.
        cleaning: What is dropped.
    """
    # Events without a time belong nowhere; cleaning the training part counts them.
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
    """Return the strong transitions of a part of a log, each once a user; ``PAIR_SCHEMA``."""
    if events.is_empty():
        return PAIR_SCHEMA.to_frame()
    moves = transitions(clean(events, cleaning), strong)
    return moves.select(PAIR_SCHEMA.names()).unique().sort(PAIR_SCHEMA.names())
