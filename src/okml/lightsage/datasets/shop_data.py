"""The one form in which the chapter gets its data sets, whatever they were read from."""

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
        "id": pl.String(),  # as the data name it
        "title": pl.String(),  # null where the data have none
        "category": pl.Int32(),  # -1: unknown
        "type": pl.Int32(),  # finer than category, where there is something; -1: unknown
        "product": pl.Int32(),  # listings of one product share it; the item itself where unknown
        "is_ad": pl.Boolean(),  # may be served as an ad
        "launch_ts": pl.Int64(),  # 0 where unknown
    }
)
PAIR_SCHEMA = pl.Schema({"user": pl.Int64(), "item": pl.Int32(), "neighbor": pl.Int32()})


@dataclass(frozen=True, eq=False)
class ShopData:
    """A training log, the pairs to validate and test on, and what is known of the items.

    Attributes:
        name: Of the data set.
        synthetic: Whether no shop or person is behind it; then every figure must say so.
        train: The log of the training period; the graph, the tail and all statistics of items come
            from it alone.
        valid: ``PAIR_SCHEMA``: who went from which item to which one in the validation period.
        test: The same of the test period.
        items: ``ITEM_SCHEMA``.
        features: float32 ``[N, F]``, columns standardized.
        feature_notes: What the features are, in words.
        protocol: The split and the test pairs, in words.
        notice: Attribution or condition to show beside results.
        used: Files behind it, with source and hash; empty for synthetic data.
        truth: Positions that synthetic clicks were drawn from, ``[N, 16]``; None for real data.
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
        """N."""
        return self.items.height
