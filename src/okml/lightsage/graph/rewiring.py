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
    kinds = edges["part"].to_list()
    row_of = {pair: row for row, pair in enumerate(zip(item, neighbor, strict=True))}
    joined = {frozenset(pair) for pair in row_of}
    alike: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)  # by keys of both ends
    for (one, other), row in row_of.items():
        back = row_of.get((other, one))
        keys = int(key[one]), int(key[other])
        if back is None or {kinds[row], kinds[back]} != {part}:
            continue
        if (keys[0], one) < (keys[1], other):
            alike[keys].append((row, back))
    for keys, pairs in alike.items():
        chosen = rng.integers(len(pairs), size=(ATTEMPTS * len(pairs), 2)).tolist()
        turned = (rng.random(len(chosen)) < 0.5).tolist() if keys[0] == keys[1] else None
        for number, (first, second) in enumerate(chosen):
            (a, b), (c, d) = pairs[first], pairs[second]
            if turned is not None and turned[number]:
                c, d = d, c
            new = frozenset((item[a], item[d])), frozenset((item[c], item[b]))
            if any(len(pair) == 1 or pair in joined for pair in new):
                continue
            joined -= {frozenset((item[a], item[b])), frozenset((item[c], item[d]))}
            joined |= {*new}
            pairs[first], pairs[second] = (a, d), (c, b)
        for a, b in pairs:
            neighbor[a], neighbor[b] = item[b], item[a]
    column = pl.Series("neighbor", neighbor, edges.schema["neighbor"])
    return edges.with_columns(column).sort("item", "neighbor")
