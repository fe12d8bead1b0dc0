"""Relational operations on edges: rounding, symmetrization, the heaviest K of an item."""

from __future__ import annotations

from typing import Any

import ibis
from ibis import Table

from okml.lightsage.graph.edges import STEPS

Column = Any  # ibis.expr.types.NumericValue


def rounded(weight: Column) -> Column:
    """Round a weight to a multiple of 2^-32, as ``okml.lightsage.graph.edges.rounded`` does."""
    return (weight * STEPS + 0.5).floor().cast("float64") / STEPS


def symmetric(edges: Table) -> Table:
    """Return edges in both directions, each with the larger of the two weights."""
    there = edges.select("item", "neighbor", "weight")
    back = edges.select(item="neighbor", neighbor="item", weight="weight")
    both = ibis.union(there, back)
    return both.group_by("item", "neighbor").agg(weight=both.weight.max())


def strongest(edges: Table, most: int) -> Table:
    """Return the ``most`` heaviest edges of each item, with ties by neighbor."""
    place = ibis.row_number().over(
        ibis.window(group_by="item", order_by=[ibis.desc("weight"), "neighbor"])
    )
    return edges.mutate(place=place).filter(ibis._.place < most).drop("place")
