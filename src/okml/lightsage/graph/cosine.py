"""Cosine collaborative filtering, what Swing is compared with: |U_i ∩ U_j| / sqrt(|U_i| |U_j|)."""

from __future__ import annotations

import polars as pl

from okml.lightsage.graph.settings import SwingSettings


def cosine(pairs: pl.DataFrame, settings: SwingSettings | None = None) -> pl.DataFrame:
    """Score items by cosine, from the same users and with the same number of neighbors as Swing.

    ``least_pairs`` counts pairs of users here too; ``least_score`` and the caps on users of an item
    do not apply: they belong to Swing's scale and its cost.

    Args:
        pairs: ``user`` (Int64), ``item`` (Int32), distinct.
        settings: Which users count, support, and neighbors an item.
    """
    raise NotImplementedError
