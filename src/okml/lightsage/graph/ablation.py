"""The graphs of the ablation by name, and their controls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.lightsage.graph.edges import in_order
from okml.lightsage.graph.graph import ItemGraph, edges_of, graph_of
from okml.lightsage.graph.rewiring import rewired
from okml.lightsage.graph.settings import GraphSettings, Part, Source

GraphName = Literal[
    "weak", "weak, as few edges", "weak, few of each item", "everything", "strong",
    "strong + swing", "strong + search", "strong + shuffled search", "full",
    "full, swing of all clicks", "full, all swing of all clicks", "full, cosine for swing",
]  # fmt: skip
GRAPHS: tuple[GraphName, ...] = get_args(GraphName)

_PARTS: dict[GraphName, tuple[Part, ...]] = {
    "weak": ("weak",),
    "weak, as few edges": ("weak",),
    "weak, few of each item": ("weak",),
    "everything": ("strong", "search", "swing", "weak"),
    "strong": ("strong",),
    "strong + swing": ("strong", "swing"),
    "strong + search": ("strong", "search"),
    "full": ("strong", "search", "swing"),
    "full, swing of all clicks": ("strong", "search", "swing"),
    "full, all swing of all clicks": ("strong", "search", "swing"),
    "full, cosine for swing": ("strong", "search", "cosine"),
}
# Graphs of which one kind is cut to its heaviest edges, so that the graph is as large as another.
_AS_LARGE: dict[GraphName, tuple[Part, GraphName]] = {
    "weak, as few edges": ("weak", "strong"),
    "weak, few of each item": ("weak", "strong"),
    "full, swing of all clicks": ("swing", "full"),
    "full, cosine for swing": ("cosine", "full"),
}
# Graphs that depend on the seed: by a shuffle, or by ties at the last edge.
DRAWN = frozenset({*_AS_LARGE, "strong + shuffled search"})


@dataclass(frozen=True, eq=False)
class LogEdges:
    """The edges of one log by kind, each kind counted once.

    Attributes:
        log: Cleaned log of the training period.
        items: Number of items N.
        settings: Rules and caps, the same for all graphs.
        key: Key of each item, ``[N]``; a shuffled search edge joins items of the same keys.
    """

    log: pl.DataFrame
    items: int
    settings: GraphSettings
    key: NDArray[np.integer]

    @cache  # noqa: B019 - it lives as long as the run
    def of(self, part: Part) -> pl.DataFrame:
        """Return the edges of a kind."""
        return edges_of(part, self.log, self.settings)

    @cached_property
    def swing_of_all_clicks(self) -> pl.DataFrame:
        """Edges of Swing that reads clicks in the feed, too."""
        swing = self.settings.swing.model_copy(update={"sources": get_args(Source)})
        return edges_of("swing", self.log, self.settings.model_copy(update={"swing": swing}))


def graph_by_name(name: GraphName, counted: LogEdges, seed: int) -> ItemGraph:
    """Build a graph of the ablation by its name.

    Args:
        name: Name of the graph.
        counted: Edges of the log.
        seed: Random seed of the controls.
    """
    if name == "strong + shuffled search":
        true, rng = graph_by_name("strong + search", counted, seed), np.random.default_rng(seed)
        return replace(true, edges=rewired(true.edges, "search", counted.key, rng))
    merged = counted.settings.merge.model_copy(update={"parts": _PARTS[name]})
    edges = {part: counted.of(part) for part in _PARTS[name]}
    if name in ("full, swing of all clicks", "full, all swing of all clicks"):
        edges["swing"] = counted.swing_of_all_clicks
    if name in _AS_LARGE:
        part, like = _AS_LARGE[name]
        most = graph_by_name(like, counted, seed).edges.height
        ordered = heaviest_first(edges[part], seed, of_each_item=name == "weak, few of each item")
        rest = graph_of(edges | {part: edges[part].clear()}, counted.items, merged)
        edges[part] = in_order(ordered.head(how_many(ordered, rest, most, merged.most_neighbors)))
    return graph_of(edges, counted.items, merged)


def heaviest_first(edges: pl.DataFrame, seed: int, *, of_each_item: bool = False) -> pl.DataFrame:
    """Sort edges by descending weight, with ties in random order.

    Args:
        edges: Edge frame.
        seed: Random seed of the order of ties.
        of_each_item: Each item's heaviest edge comes before any item's second, and so on.
    """
    drawn = pl.Series(np.random.default_rng(seed).permutation(edges.height), dtype=pl.Int64)
    ordered = edges.with_columns(drawn=drawn).sort("weight", "drawn", descending=[True, False])
    if of_each_item:
        ordered = ordered.sort(pl.int_range(pl.len()).over("item"), maintain_order=True)
    return ordered.drop("drawn")


def how_many(ordered: pl.DataFrame, rest: ItemGraph, most: int, most_neighbors: int) -> int:
    """Return how many edges may join a graph until its merge is as large as another graph.

    A merge has both directions of a pair, a pair that several kinds have once, and at most K
    neighbors of an item.

    Args:
        ordered: Edges of one kind; the first ones join first.
        rest: Merge of the other kinds.
        most: Largest number of merged edges.
        most_neighbors: K of the merge.

    Returns:
        The largest number of edges with which the merge has at most ``most``, if ``rest`` has.
    """
    ends = pl.col("item"), pl.col("neighbor")
    there = ordered.select(*ends, place=pl.int_range(pl.len()))
    back = there.select(item="neighbor", neighbor="item", place="place")
    pairs = pl.concat([there, back]).group_by("item", "neighbor").agg(pl.col("place").min())
    new = pairs.join(rest.edges, on=["item", "neighbor"], how="anti").sort("place")
    degrees = np.bincount(rest.edges["item"].to_numpy(), minlength=rest.items)
    known = degrees[new["item"].to_numpy()]
    nth = new.select(pl.int_range(1, pl.len() + 1).over("item")).to_series().to_numpy()
    places = new["place"].to_numpy()[known + nth <= most_neighbors]
    room = max(0, most - rest.edges.height)
    return ordered.height if len(places) <= room else int(places[room])
