"""The relational merge of edges; ``okml.lightsage.graph.merging`` explains the steps."""

from __future__ import annotations

from collections.abc import Mapping

import ibis
from ibis import Table, _

from okml.lightsage.graph.relational.edges import rounded, strongest
from okml.lightsage.graph.settings import MergeSettings, Part


def merge(edges: Mapping[Part, Table], settings: MergeSettings) -> Table:
    """Merge kinds of edges without symmetrization.

    Returns:
        Columns ``item, neighbor, weight, part``; weights are not normalized.
    """
    ranked = [
        _scaled(edges[part], settings, part).mutate(part=ibis.literal(place, "int32"))
        for place, part in enumerate(settings.parts)
    ]
    every = ibis.union(*ranked) if len(ranked) > 1 else ranked[0]
    if settings.how == "union":
        merged = every.group_by("item", "neighbor").agg(
            weight=rounded(_.weight.sum()), part=_.part.min()
        )
        return strongest(merged, settings.most_neighbors)
    of_pair = ibis.window(group_by=["item", "neighbor"], order_by="part")
    first = every.mutate(place=ibis.row_number().over(of_pair)).filter(_.place == 0)
    of_item = ibis.window(group_by="item", order_by=["part", ibis.desc("weight"), "neighbor"])
    placed = first.drop("place").mutate(place=ibis.row_number().over(of_item))
    return placed.filter(_.place < settings.most_neighbors).drop("place")


def _scaled(edges: Table, settings: MergeSettings, part: Part) -> Table:
    kept = strongest(edges.select("item", "neighbor", "weight"), settings.most_neighbors)
    of_item = ibis.window(group_by="item")
    if settings.how == "union":
        scale = kept.weight.sum().over(of_item)
    else:
        scale = kept.weight.max().over(of_item)
    scaled = kept.mutate(scale=scale)
    share = scaled.weight / scaled.scale * settings.coefficients[part]
    return scaled.select("item", "neighbor", weight=rounded(share))
