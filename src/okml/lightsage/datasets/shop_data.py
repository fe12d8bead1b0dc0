"""The common type of the chapter's data sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.ledger import DataUsed
from okml.lightsage.graph.events import Cleaned

ITEM_SCHEMA = pl.Schema(
    {
        "item": pl.Int32(),  # 0 to N - 1, row i is item i
        "id": pl.String(),  # identifier in the source
        "title": pl.String(),  # null if missing
        "category": pl.Int32(),  # -1: unknown
        "type": pl.Int32(),  # finer than category; -1: unknown
        "product": pl.Int32(),  # shared by listings of one product; the item itself if unknown
        "is_ad": pl.Boolean(),  # may be served as an ad
        "launch_ts": pl.Int64(),  # 0 if unknown
    }
)
PAIR_SCHEMA = pl.Schema({"user": pl.Int64(), "item": pl.Int32(), "neighbor": pl.Int32()})


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
        truth: Latent positions from which synthetic clicks are drawn, ``[N, 16]``; None for real
            data.
    """

    name: str
    synthetic: bool
    train: Cleaned
    valid: pl.DataFrame
    test: pl.DataFrame
    items: pl.DataFrame
    features: NDArray[np.float32]
    feature_notes: str
    protocol: str
    notice: str = ""
    used: Mapping[str, DataUsed] = field(default_factory=dict)
    truth: NDArray[np.float64] | None = None

    @property
    def item_count(self) -> int:
        """Number of items N."""
        return self.items.height
