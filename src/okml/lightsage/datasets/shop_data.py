"""The common type of the chapter's data sets, and the split of a log by time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.ledger import DataUsed
from okml.lightsage.graph import EVENT_SCHEMA, StrongSettings, clean, transitions

ITEM_SCHEMA = pl.Schema(
    {
        "item": pl.Int32(),  # 0 to N - 1, row i is item i
        "id": pl.String(),  # identifier in the source
        "title": pl.String(),  # null if missing
        "category": pl.Int32(),  # -1: unknown
        "type": pl.Int32(),  # finer than category; -1: unknown
        "product": pl.Int32(),  # shared by listings of one product; the item itself if unknown
        "is_ad": pl.Boolean(),  # may be served as an ad
    }
)
PAIR_SCHEMA = pl.Schema({"user": pl.Int64(), "item": pl.Int32(), "neighbor": pl.Int32()})


def item_table(items: pl.DataFrame) -> pl.DataFrame:
    """Return ``ITEM_SCHEMA`` of items without some of its columns, in the order of their rows.

    An item has no title, an unknown category and type, is a product of its own, and may be served
    as an ad, where no column says otherwise.
    """
    number = pl.int_range(pl.len(), dtype=pl.Int32)
    defaults = {
        "item": number,
        "title": pl.lit(None, pl.String),
        "category": pl.lit(-1, pl.Int32),
        "type": pl.lit(-1, pl.Int32),
        "product": number,
        "is_ad": pl.lit(True),
    }
    missing = {name: value for name, value in defaults.items() if name not in items.columns}
    return items.with_columns(**missing).select(ITEM_SCHEMA.names())


def page_views(frame: pl.DataFrame) -> pl.DataFrame:
    """Return ``EVENT_SCHEMA`` of a log that knows only ``user, ts, item`` and maybe ``session``."""
    unknown = {"session": None, "from_item": -1, "query": -1, "episode": -1}
    columns = {
        name: pl.lit(value, EVENT_SCHEMA[name])
        for name, value in unknown.items()
        if name not in frame.columns
    }
    every = frame.with_columns(action=pl.lit("view"), source=pl.lit("other"), **columns)
    return every.select(EVENT_SCHEMA.names())


@dataclass(frozen=True, eq=False)
class ShopData:
    """A training log, validation and test pairs, and the attributes of items.

    Attributes:
        name: Name of the data set.
        synthetic: Whether the data are simulated; then every figure must say so.
        train: Cleaned log of the training period, the only source of the graph, the tail and item
            statistics.
        valid: Transitions of users in the validation period, ``PAIR_SCHEMA``.
        test: Transitions of users in the test period, ``PAIR_SCHEMA``.
        items: Attributes of items, ``ITEM_SCHEMA``.
        features: Standardized item features, float32 ``[N, F]``.
        feature_notes: Description of the features.
        protocol: Description of the split and the test pairs.
        notice: Attribution or condition to show beside results.
        used: Source files with their hashes; empty for synthetic data.
        on_page: Items that synthetic clicks on each item's page lead to, the likeliest first,
            int32 ``[N, M]``, padded with -1; None for real data.
    """

    name: str
    synthetic: bool
    train: pl.DataFrame
    valid: pl.DataFrame
    test: pl.DataFrame
    items: pl.DataFrame
    features: NDArray[np.float32]
    feature_notes: str
    protocol: str
    notice: str = ""
    used: Mapping[str, DataUsed] = field(default_factory=dict)
    on_page: NDArray[np.int32] | None = None

    @property
    def item_count(self) -> int:
        """Number of items N."""
        return self.items.height


class TimeSplit(NamedTuple):
    """Training log, and validation and test pairs (``PAIR_SCHEMA``)."""

    train: pl.DataFrame
    valid: pl.DataFrame
    test: pl.DataFrame


def split_by_time(
    events: pl.DataFrame,
    valid_from: int,
    test_from: int,
    strong: StrongSettings | None = None,
) -> TimeSplit:
    """Split a log at two times; each part is cleaned alone, so later events affect no earlier part.

    Args:
        events: Log of events, ``EVENT_SCHEMA``.
        valid_from: Start of the validation in milliseconds.
        test_from: Start of the test in milliseconds.
        strong: Rules of the transitions.
    """
    # Events without a time go to the training part, whose cleaning refuses a log without any time.
    early = events.filter(pl.col("ts").is_null() | (pl.col("ts") < valid_from))
    middle = events.filter(pl.col("ts").is_between(valid_from, test_from, closed="left"))
    late = events.filter(pl.col("ts") >= test_from)
    return TimeSplit(
        clean(early),
        pairs_of(middle, strong),
        pairs_of(late, strong),
    )


def pairs_of(events: pl.DataFrame, strong: StrongSettings | None = None) -> pl.DataFrame:
    """Return the strong transitions of a part of a log, each once per user; ``PAIR_SCHEMA``."""
    if events.is_empty():
        return PAIR_SCHEMA.to_frame()
    moves = transitions(clean(events), strong)
    return moves.select(PAIR_SCHEMA.names()).unique().sort(PAIR_SCHEMA.names())
