"""A synthetic log of a shop whose truth is known: every step drawn from one seeded generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.lightsage.shop.settings import ShopSettings

LABEL = "synthetic"


@dataclass(frozen=True, eq=False)
class Shop:
    """A catalog, a log, and the truth behind them. All synthetic; say so wherever it is shown.

    Attributes:
        settings: What it was made from.
        seed: Likewise.
        events: ``okml.lightsage.graph.EVENT_SCHEMA``, unordered in time within the log.
        catalog: A row a listing: ``item, title, category, type, product, is_ad, launch_ts,
            popularity``; ``type`` is what the shop observes, wrong for some.
        features: float32 ``[N, F]``.
        truth: Position of each listing in the space that clicks are drawn from, ``[N, 16]``.
        ring_users: Accounts that fake demand.
    """

    settings: ShopSettings
    seed: int
    events: pl.DataFrame
    catalog: pl.DataFrame
    features: NDArray[np.float32]
    truth: NDArray[np.float64]
    ring_users: NDArray[np.int64]


def generate(settings: ShopSettings, seed: int) -> Shop:
    """Draw a shop. Equal settings and seeds give equal shops."""
    raise NotImplementedError
