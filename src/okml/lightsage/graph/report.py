"""Statistics of graphs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from okml.lightsage.graph.graph import ItemGraph

Row = dict[str, str | int | float | None]


def part_report(
    edges: Mapping[str, pl.DataFrame], items: int, category: pl.Series | None = None
) -> pl.DataFrame:
    """Describe each kind of edge, in a row for each.

    Columns: ``part``, ``edges``, ``coverage`` (share of items with an edge in either direction),
    ``same_category`` (weighted share of edges within a category; null without categories),
    ``out_median``, ``out_p90``, ``in_p90`` (degrees of items with an edge), ``in_gini`` (of the
    in-degrees of all items), ``largest_component`` (share of items).

    Args:
        edges: Edge frames by name.
        items: Number of items N.
        category: Category of each item, ``[N]``; edges of items with -1, unknown, are left out of
            the share.
    """
    rows = [_describe(name, frame, items, category) for name, frame in edges.items()]
    return pl.DataFrame(rows, infer_schema_length=None)


def graph_report(graph: ItemGraph, category: pl.Series | None = None) -> pl.DataFrame:
    """Describe the merged graph in one row of ``part_report``."""
    return part_report({"+".join(graph.part_names): graph.frame()}, graph.items, category)


def overlap(edges: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the share of a kind's pairs (row) that another kind (column) also has."""
    pairs = {
        name: frame.select(low=pl.min_horizontal(ends := ("item", "neighbor")),
                           high=pl.max_horizontal(ends)).unique()
        for name, frame in edges.items()
    }  # fmt: skip
    rows: list[Row] = []
    for name, mine in pairs.items():
        row: Row = {"part": name}
        for other, theirs in pairs.items():
            common = mine.join(theirs, on=["low", "high"], how="semi").height
            row[other] = common / mine.height if mine.height else None
        rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def gini(values: NDArray[np.int64]) -> float:
    """Return the Gini coefficient: 0 if all values are equal, near 1 if one has all."""
    total = values.sum()
    if not total:
        return 0.0
    ordered = np.sort(values)
    n = len(ordered)
    return float(2 * (np.arange(1, n + 1) * ordered).sum() / (n * total) - (n + 1) / n)


def _describe(name: str, frame: pl.DataFrame, items: int, category: pl.Series | None) -> Row:
    i, j = frame["item"].to_numpy(), frame["neighbor"].to_numpy()
    weight = frame["weight"].to_numpy()
    outs, ins = np.bincount(i, minlength=items), np.bincount(j, minlength=items)
    reached = (outs + ins) > 0
    same: float | None = None
    if category is not None:
        of = category.to_numpy()
        known = (of[i] >= 0) & (of[j] >= 0)
        if weight[known].sum() > 0:
            same = float(weight[known & (of[i] == of[j])].sum() / weight[known].sum())
    adjacency = sp.coo_array((np.ones(len(i)), (i, j)), shape=(items, items))
    _, component = connected_components(adjacency, directed=False)
    quantile = (lambda counts, q: float(np.quantile(counts[reached], q))) if len(i) else _zero
    return {
        "part": name,
        "edges": len(i),
        "coverage": float(reached.mean()),
        "same_category": same,
        "out_median": quantile(outs, 0.5),
        "out_p90": quantile(outs, 0.9),
        "in_p90": quantile(ins, 0.9),
        "in_gini": gini(ins),
        "largest_component": float(np.bincount(component).max() / items) if len(i) else 0.0,
    }


def _zero(counts: NDArray[np.int64], q: float) -> float:
    return 0.0
