"""Edges rewired at random, a control of which items they join."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.lightsage.graph.settings import Part

ATTEMPTS = 20  # exchanges that are tried, in multiples of the number of pairs


def rewired(
    edges: pl.DataFrame, part: Part, key: NDArray[np.integer], rng: np.random.Generator
) -> pl.DataFrame:
    """Return the edges of a graph with the pairs of one kind drawn anew.

    Two pairs a – b and c – d become a – d and c – b where a and c have one key, and b and d have
    one, many times over (Maslov and Sneppen, 2002). Every item keeps its number of neighbors, that
    of neighbors with each key, and the weights of its edges. An exchange that would join an item to
    itself or to a neighbor is left out. A pair that only one end has among its neighbors stays.

    Args:
        edges: Edges ``item, neighbor, weight, part`` of a graph, each once.
        part: Kind of the edges that are drawn anew.
        key: Key of each item, such as its category and type, ``[N]``.
        rng: Random generator of the exchanges.

    Returns:
        As many edges, in the order of ``item`` and ``neighbor``.
    """
    item, neighbor = (edges[name].to_list() for name in ("item", "neighbor"))
    row_of = {pair: row for row, pair in enumerate(zip(item, neighbor, strict=True))}
    joined = {*row_of, *zip(neighbor, item, strict=True)}  # both directions of each pair
    for keys, pairs in _by_keys(row_of, (edges["part"] == part).to_list(), key.tolist()).items():
        chosen = rng.integers(len(pairs), size=(ATTEMPTS * len(pairs), 2)).tolist()
        turned = (rng.random(len(chosen)) < 0.5) & (keys[0] == keys[1])
        for (first, second), turn in zip(chosen, turned.tolist(), strict=True):
            (a, b), (c, d) = pairs[first], pairs[second]
            if turn:
                c, d = d, c
            i, j, k, m = item[a], item[b], item[c], item[d]
            if i == m or j == k or (i, m) in joined or (k, j) in joined:
                continue
            joined -= {(i, j), (j, i), (k, m), (m, k)}
            joined |= {(i, m), (m, i), (k, j), (j, k)}
            pairs[first], pairs[second] = (a, d), (c, b)
        for a, b in pairs:
            neighbor[a], neighbor[b] = item[b], item[a]
    column = pl.Series("neighbor", neighbor, edges.schema["neighbor"])
    return edges.with_columns(column).sort("item", "neighbor")


def _by_keys(
    row_of: dict[tuple[int, int], int], moving: list[bool], key: list[int]
) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Return the rows of both directions of each moving pair, by the keys of its two ends."""
    found: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for (one, other), row in row_of.items():
        back = row_of.get((other, one))
        once = (key[one], one) < (key[other], other)  # not in both directions
        if once and back is not None and moving[row] and moving[back]:
            found[key[one], key[other]].append((row, back))
    return found
