"""Cosine collaborative filtering, the baseline of Swing: |U_i ∩ U_j| / sqrt(|U_i| |U_j|)."""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp

from okml.lightsage.graph.edges import EDGE_SCHEMA, in_order, rounded, strongest
from okml.lightsage.graph.settings import SwingSettings

BLOCK_ITEMS = 2048  # rows of the co-occurrence matrix that exist at once


def cosine(pairs: pl.DataFrame, settings: SwingSettings | None = None) -> pl.DataFrame:
    """Score items by cosine, with the users and the number of neighbors of Swing.

    ``least_pairs`` counts pairs of users here too; ``least_score`` and the cap on users of an item
    do not apply, because they depend on Swing's scale and cost.

    Args:
        pairs: Distinct pairs of ``user`` (Int64) and ``item`` (Int32).
        settings: Filter of users, least support, and number of neighbors of an item.
    """
    settings = settings or SwingSettings()
    n = pl.len().over("user")
    kept = pairs.filter(n.is_between(settings.least_user_items, settings.most_user_items))
    if kept.is_empty():
        return EDGE_SCHEMA.to_frame()
    items = kept["item"].unique().sort()
    rows = (kept["user"].rank("dense") - 1).to_numpy()
    columns = (kept["item"].rank("dense") - 1).to_numpy()
    has = sp.csr_array(
        (np.ones(len(rows), np.int32), (rows, columns)), shape=(rows.max() + 1, len(items))
    )
    users = has.sum(axis=0)  # |U_i|
    by_item = has.T.tocsr()
    blocks = []
    for start in range(0, len(items), BLOCK_ITEMS):
        common = (by_item[start : start + BLOCK_ITEMS] @ has).tocoo()
        i, j = common.coords[0] + start, common.coords[1]
        block = pl.DataFrame(
            {
                "item": items.to_numpy()[i],
                "neighbor": items.to_numpy()[j],
                "common": common.data.astype(np.int64),
                "weight": common.data / np.sqrt(users[i].astype(np.float64) * users[j]),
            }
        ).filter(
            pl.col("item") != pl.col("neighbor"),
            pl.col("common") * (pl.col("common") - 1) // 2 >= settings.least_pairs,
        )
        scored = block.with_columns(weight=rounded(pl.col("weight"))).drop("common")
        blocks.append(strongest(scored, settings.most_neighbors))
    return in_order(pl.concat(blocks))
