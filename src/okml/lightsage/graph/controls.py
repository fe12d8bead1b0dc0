"""What must spoil a graph if it is worth anything: the same amount of evidence, its link broken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numba
import numpy as np
import polars as pl

from okml.lightsage.graph.build import from_merged
from okml.lightsage.graph.edges import in_order
from okml.lightsage.graph.events import PAGES, Cleaned
from okml.lightsage.graph.graph import ItemGraph

SWAPS_PER_EDGE = 20  # tried; several times what mixes a sparse graph


def random_edges(edges: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return random edges of equal degree, by swapping the ends of random pairs of edges.

    Every item keeps its weights and how many neighbors it has, and is a neighbor as often as
    before; no edge leads to its own item and none is doubled. A graph with one possible form (a
    star, two items) stays as it is.
    """
    if edges.height < 2:
        return edges
    rng = np.random.default_rng(seed)
    swaps = rng.integers(edges.height, size=(SWAPS_PER_EDGE * edges.height, 2))
    ends = np.array(edges["neighbor"].to_numpy())
    _swap(edges["item"].to_numpy().astype(np.int64), ends, swaps)
    return in_order(edges.with_columns(neighbor=pl.Series(ends)))


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _swap(items: Any, ends: Any, swaps: Any) -> None:
    """Swap ``ends`` of pairs of edges in place wherever the graph stays simple."""
    base = np.int64(2**31)
    present = set()
    for edge in range(len(items)):
        present.add(items[edge] * base + ends[edge])
    for attempt in range(len(swaps)):
        a, b = swaps[attempt, 0], swaps[attempt, 1]
        first, second = items[a] * base + ends[b], items[b] * base + ends[a]
        if items[a] == ends[b] or items[b] == ends[a] or first in present or second in present:
            continue
        present.remove(items[a] * base + ends[a])
        present.remove(items[b] * base + ends[b])
        present.add(first)
        present.add(second)
        ends[a], ends[b] = ends[b], ends[a]


def random_graph(graph: ItemGraph, seed: int) -> ItemGraph:
    """Return a graph whose entries and whose directed edges are ``random_edges`` of the graph's."""
    entries = pl.DataFrame(
        {
            "item": graph.rows(),
            "neighbor": graph.neighbors,
            "weight": graph.weights.astype(np.float64),
            "part": graph.parts,
        }
    )
    return from_merged(
        random_edges(entries, seed),
        random_edges(graph.directed, seed),
        graph.items,
        graph.part_names,
    )


def shuffled_queries(log: Cleaned, seed: int) -> Cleaned:
    """Return a log in which every click on search results belongs to a random query.

    Queries keep how many clicks they have and items how often they were opened from search; which
    query a click followed is drawn at random from the whole log.
    """
    frame = log.frame
    clicks = frame.select(
        (pl.col("source") == "search") & (pl.col("episode") >= 0) & pl.col("action").is_in(PAGES)
    ).to_series()
    places = clicks.arg_true().to_numpy()
    drawn = np.random.default_rng(seed).permutation(places)
    columns = {}
    for name in ("query", "episode"):
        values = np.array(frame[name].to_numpy())
        values[places] = values[drawn]
        columns[name] = pl.Series(values, dtype=frame.schema[name])
    return replace(log, frame=frame.with_columns(**columns))
