"""Edges: ``item`` (Int32), ``neighbor`` (Int32), ``weight`` (Float64); directed, one per pair.

Row ``i, j, w`` recommends j on the page of i. Frames are sorted by item, then by descending weight,
then by neighbor, so equal edges have equal frames.
"""

from __future__ import annotations

import polars as pl

EDGE_SCHEMA = pl.Schema({"item": pl.Int32(), "neighbor": pl.Int32(), "weight": pl.Float64()})

# Floating-point sums depend on the order of addition, and so on threads. Weights are therefore
# rounded to multiples of 2^-32, so that equal sums tie; ties are broken by number. Weights stay
# below 2^31.
STEPS = float(2**32)


def rounded(weight: pl.Expr) -> pl.Expr:
    """Round a weight to a multiple of 2^-32."""
    return (weight * STEPS + 0.5).floor() / STEPS


def in_order(edges: pl.DataFrame) -> pl.DataFrame:
    """Cast and sort edges; further columns follow the three."""
    more = [column for column in edges.columns if column not in EDGE_SCHEMA]
    typed = edges.select(*(pl.col(name).cast(kind) for name, kind in EDGE_SCHEMA.items()), *more)
    return typed.sort("item", "weight", "neighbor", descending=[False, True, False])


def symmetric(edges: pl.DataFrame) -> pl.DataFrame:
    """Return edges in both directions, each with the larger of the two weights."""
    return both_ways(edges, edges)


def both_ways(there: pl.DataFrame, back: pl.DataFrame) -> pl.DataFrame:
    """Return edges as they are and others turned around, with the larger weight of equal pairs."""
    turned = back.select(item="neighbor", neighbor="item", weight="weight")
    both = pl.concat([there.select(EDGE_SCHEMA.names()), turned])
    return in_order(both.group_by("item", "neighbor").agg(pl.col("weight").max()))


def strongest(edges: pl.DataFrame, most: int) -> pl.DataFrame:
    """Return the ``most`` heaviest edges of each item, with ties by neighbor."""
    return in_order(edges).group_by("item", maintain_order=True).head(most)
