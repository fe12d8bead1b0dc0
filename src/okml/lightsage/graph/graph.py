"""The item graph: kinds of edges merged, at most K neighbors of each item, normalized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.errors import DataError
from okml.lightsage.adjacency import Adjacency
from okml.lightsage.graph.clicks import search_edges, strong_edges, weak_edges
from okml.lightsage.graph.cosine import cosine
from okml.lightsage.graph.edges import EDGE_SCHEMA, both_ways, in_order, rounded, strongest
from okml.lightsage.graph.settings import GraphSettings, MergeSettings, Part
from okml.lightsage.graph.swing import swing, user_items

PART = pl.Enum(get_args(Part))  # a byte a row
# A range of items: few enough rows that their sorts need little memory, and few enough ranges that
# to look for their rows takes less time than to merge them.
RANGE_ENTRIES, MOST_RANGES = 2**16, 64


@dataclass(frozen=True, eq=False)
class ItemGraph:
    """The graph that models are trained on.

    Attributes:
        items: Number of items N.
        edges: Edges ``item, neighbor, weight, part`` in the order of the first two. The weights of
            an item sum to 1; ``part`` is the kind with the highest priority if several have the
            pair.
        directed: Merge of the directed edges before symmetrization; a pair is drawn as a positive
            in proportion to its ``weight``.
    """

    items: int
    edges: pl.DataFrame
    directed: pl.DataFrame

    @cached_property
    def adjacency(self) -> Adjacency:
        """The matrix A of the edges, ``[N, N]``."""
        columns = (self.edges[name].to_numpy() for name in ("item", "neighbor", "weight"))
        return Adjacency.from_edges(self.items, *columns)


def edges_of(part: Part, log: pl.DataFrame, settings: GraphSettings | None = None) -> pl.DataFrame:
    """Return the edges of one kind before the cap of the merge (Swing and cosine: their top K)."""
    settings = settings or GraphSettings()
    match part:
        case "strong":
            return strong_edges(log, settings.strong)
        case "search":
            return search_edges(log, settings.search)
        case "swing":
            return swing(user_items(log, settings.swing), settings.swing)
        case "cosine":
            return cosine(user_items(log, settings.swing), settings.swing)
        case "weak":
            return weak_edges(log)


def build_graph(log: pl.DataFrame, items: int, settings: GraphSettings | None = None) -> ItemGraph:
    """Count all kinds of edges that ``settings.merge.parts`` names and merge them.

    Args:
        log: Cleaned log of the training period.
        items: Number of items N; items without events are isolated.
        settings: Rules, caps and priorities.

    Raises:
        DataError: If an item's number is N or more.
    """
    settings = settings or GraphSettings()
    edges = {part: edges_of(part, log, settings) for part in settings.merge.parts}
    return graph_of(edges, items, settings.merge)


def graph_of(
    edges: Mapping[Part, pl.DataFrame], items: int, settings: MergeSettings | None = None
) -> ItemGraph:
    """Merge kinds of edges that are already counted, a range of items at a time.

    The rows of an item follow from its own edges, so that what is sorted and joined at once is a
    range of items. Beyond the given edges, memory is that of the result and of one range.

    Args:
        edges: Edge frame for each of ``settings.parts``; others are ignored.
        items: Number of items N.
        settings: Priorities, coefficients and K.

    Raises:
        DataError: If an item's number is N or more.
    """
    settings = settings or MergeSettings()
    counts = sum(
        (
            _counts(edges[part][end], items)
            for part in settings.parts
            for end in ("item", "neighbor")
        ),
        np.zeros(items, np.int64),
    )  # entries of each item, in both directions
    share = (pl.col("weight") / pl.col("weight").sum().over("item")).cast(pl.Float32)
    both, directed = [], []
    for first, last in _ranges(counts):
        inside = {
            end: pl.col(end).is_between(first, last, closed="left") for end in ("item", "neighbor")
        }
        there = {part: edges[part].filter(inside["item"]) for part in settings.parts}
        back = {part: edges[part].filter(inside["neighbor"]) for part in settings.parts}
        ways = {part: both_ways(there[part], back[part]) for part in settings.parts}
        merged = merge(ways, settings).sort("item", "neighbor")
        both.append(merged.with_columns(share.cast(pl.Float64)))
        directed.append(merge(there, settings).drop("part"))
    return ItemGraph(items, pl.concat(both), pl.concat(directed))


def _counts(numbers: pl.Series, items: int) -> NDArray[np.int64]:
    """Return how often each item's number occurs, ``[N]``."""
    largest = int(numbers.max() or 0)  # type: ignore[arg-type]
    if largest >= items:
        raise DataError(
            f"The log has item {largest}, but there are {items} items.",
            "Number items from 0 and pass how many there are.",
        )
    return np.bincount(numbers.to_numpy(), minlength=items)


def _ranges(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Cut the items into at most ``MOST_RANGES`` ranges of nearly equal numbers of entries."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    pieces = min(MOST_RANGES, max(1, total // RANGE_ENTRIES))
    cuts = np.searchsorted(ends, total * np.arange(1, pieces) / pieces)
    bounds = np.unique([0, *cuts, len(counts)])
    return [*zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)] or [(0, 0)]


def merge(edges: Mapping[Part, pl.DataFrame], settings: MergeSettings) -> pl.DataFrame:
    """Merge kinds of edges: symmetric ones for message passing, directed ones for positives.

    1. An item keeps its K heaviest edges of each kind, divided by the heaviest weight.
    2. Each kind is multiplied by its coefficient.
    3. ``fill_up``: a pair of several kinds keeps the weight of the kind with the highest priority;
       an item's edges are sorted by kind, then weight, and cut at K.
       ``union``: weights are divided by their sum over an item's edges of the kind, and added up.

    Args:
        edges: Edge frame for each of ``settings.parts``.
        settings: Priorities, coefficients and K.

    Returns:
        An edge frame with the column ``part`` (``PART``); weights are not normalized.
    """
    every = pl.concat(
        scaled(edges[part], settings, part).with_columns(part=pl.lit(part).cast(_order(settings)))
        for part in settings.parts
    ).sort("item", "neighbor", "part")
    pair = every.group_by("item", "neighbor", maintain_order=True)
    if settings.how == "union":
        merged = pair.agg(rounded(pl.col("weight").sum()).alias("weight"), pl.col("part").first())
        by, descending = ["item", "weight", "neighbor"], [False, True, False]
    else:
        merged = pair.first()
        by, descending = ["item", "part", "weight", "neighbor"], [False, False, True, False]
    kept = merged.sort(by, descending=descending).group_by("item", maintain_order=True)
    return in_order(kept.head(settings.most_neighbors)).with_columns(pl.col("part").cast(PART))


def scaled(edges: pl.DataFrame, settings: MergeSettings, part: Part) -> pl.DataFrame:
    """Return an item's K heaviest edges of one kind with their scaled weights."""
    kept = strongest(edges.select(EDGE_SCHEMA.names()), settings.most_neighbors)
    weight = pl.col("weight")
    scale = (weight.sum() if settings.how == "union" else weight.max()).over("item")
    return kept.with_columns(rounded(weight / scale * settings.coefficients[part]))


def _order(settings: MergeSettings) -> pl.Enum:
    """Return the type of ``part``, whose values sort by priority."""
    return pl.Enum(settings.parts)
