"""The merge of several kinds of edges into one graph of at most K neighbors per item.

1. An item keeps its K heaviest edges of each kind, divided by the heaviest weight.
2. Each kind is multiplied by its coefficient.
3. ``fill_up``: a pair of several kinds keeps the weight of the kind with the highest priority; an
   item's edges are sorted by kind, then weight, and cut at K.
   ``union``: weights are divided by their sum over an item's edges of the kind, and added up.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from okml.lightsage.graph.edges import EDGE_SCHEMA, in_order, rounded, strongest
from okml.lightsage.graph.settings import MergeSettings, Part

MERGED_SCHEMA = pl.Schema({**EDGE_SCHEMA, "part": pl.UInt8()})


def merge(edges: Mapping[Part, pl.DataFrame], settings: MergeSettings) -> pl.DataFrame:
    """Merge kinds of edges: symmetric ones for message passing, directed ones for positives.

    Args:
        edges: Edge frame for each of ``settings.parts``.
        settings: Priorities, coefficients and K.

    Returns:
        An edge frame with the column ``part`` (UInt8), the place of the kind in ``settings.parts``;
        weights are not normalized.
    """
    ranked = [
        _scaled(edges[part], settings, part).with_columns(part=pl.lit(place, pl.UInt8))
        for place, part in enumerate(settings.parts)
    ]
    if not ranked:
        return MERGED_SCHEMA.to_frame()
    every = pl.concat(ranked).sort("item", "neighbor", "part")
    pair = every.group_by("item", "neighbor", maintain_order=True)
    if settings.how == "union":
        merged = pair.agg(rounded(pl.col("weight").sum()).alias("weight"), pl.col("part").first())
        by, descending = ["item", "weight", "neighbor"], [False, True, False]
    else:
        merged = pair.first()
        by, descending = ["item", "part", "weight", "neighbor"], [False, False, True, False]
    kept = merged.sort(by, descending=descending).group_by("item", maintain_order=True)
    return in_order(kept.head(settings.most_neighbors)).select(MERGED_SCHEMA.names())


def _scaled(edges: pl.DataFrame, settings: MergeSettings, part: Part) -> pl.DataFrame:
    kept = strongest(edges.select(EDGE_SCHEMA.names()), settings.most_neighbors)
    weight = pl.col("weight")
    scale = (weight.sum() if settings.how == "union" else weight.max()).over("item")
    return kept.with_columns(rounded(weight / scale * settings.coefficients[part]))
