"""The graphs of the ablation by name, and their controls."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.lightsage.graph.edges import in_order
from okml.lightsage.graph.events import PAGES
from okml.lightsage.graph.graph import ItemGraph, edges_of, graph_of
from okml.lightsage.graph.settings import GraphSettings, Part

GraphName = Literal[
    "weak", "weak, as few edges", "everything", "strong", "strong + swing", "strong + search",
    "strong + shuffled search", "full", "full, swing of all clicks", "full, cosine for swing",
]  # fmt: skip
GRAPHS: tuple[GraphName, ...] = get_args(GraphName)

_PARTS: dict[GraphName, tuple[Part, ...]] = {
    "weak": ("weak",),
    "weak, as few edges": ("weak",),
    "everything": ("strong", "search", "swing", "weak"),
    "strong": ("strong",),
    "strong + swing": ("strong", "swing"),
    "strong + search": ("strong", "search"),
    "strong + shuffled search": ("strong", "search"),
    "full": ("strong", "search", "swing"),
    "full, swing of all clicks": ("strong", "search", "swing"),
    "full, cosine for swing": ("strong", "search", "cosine"),
}
# Kinds cut to their heaviest edges, to the number of edges of another kind.
_AS_MANY: dict[GraphName, tuple[Part, Part]] = {
    "weak, as few edges": ("weak", "strong"),
    "full, swing of all clicks": ("swing", "swing"),
    "full, cosine for swing": ("cosine", "swing"),
}
# Graphs that depend on the seed: by a shuffle, or by ties at the last edge.
DRAWN = frozenset({*_AS_MANY, "strong + shuffled search"})


def graph_by_name(
    name: GraphName,
    log: pl.DataFrame,
    items: int,
    settings: GraphSettings,
    seed: int,
    key: NDArray[np.integer],
) -> ItemGraph:
    """Build a graph of the ablation by its name.

    Args:
        name: Name of the graph.
        log: Cleaned log of the training period.
        items: Number of items N.
        settings: Rules and caps, the same for all graphs.
        seed: Random seed of the controls.
        key: Key of each item, ``[N]``; shuffled searches stay among items of one key.
    """
    changed = settings
    if name == "full, swing of all clicks":
        every = ("pdp_rec", "search", "other", "feed")
        swing = settings.swing.model_copy(update={"sources": every})
        changed = settings.model_copy(update={"swing": swing})
    if name == "strong + shuffled search":
        log = shuffled_queries(log, seed, key)
    edges = {part: edges_of(part, log, changed) for part in _PARTS[name]}
    if name in _AS_MANY:
        part, like = _AS_MANY[name]
        edges[part] = heaviest(edges[part], edges_of(like, log, settings).height, seed)
    return graph_of(edges, items, settings.merge.model_copy(update={"parts": _PARTS[name]}))


def heaviest(edges: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    """Return the ``most`` heaviest edges, with ties broken at random."""
    drawn = pl.Series(np.random.default_rng(seed).permutation(edges.height), dtype=pl.Int64)
    ordered = edges.with_columns(drawn=drawn).sort("weight", "drawn", descending=[True, False])
    return in_order(ordered.head(most).drop("drawn"))


def shuffled_queries(log: pl.DataFrame, seed: int, key: NDArray[np.integer]) -> pl.DataFrame:
    """Return a log with clicks on search results shuffled among items of one key.

    Queries keep their number of clicks by key, and items keep their number of clicks from search;
    the query of a click is drawn among the clicks on items of the same key.

    Args:
        log: Cleaned log to shuffle.
        seed: Random seed of the shuffle.
        key: Key of each item, such as its category and type, ``[N]``.
    """
    clicks = log.select(
        (pl.col("source") == "search") & (pl.col("episode") >= 0) & pl.col("action").is_in(PAGES)
    ).to_series()
    places = clicks.arg_true().to_numpy()
    keys = key[log["item"].to_numpy()[places]]
    drawn = places[shuffled_within(keys, np.random.default_rng(seed))]
    columns = {}
    for name in ("query", "episode"):
        values = np.array(log[name].to_numpy())
        values[places] = values[drawn]
        columns[name] = pl.Series(values, dtype=log.schema[name])
    return log.with_columns(**columns)


def shuffled_within(key: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a random permutation, ``[n]``, that keeps keys: ``key[order] == key``."""
    order = np.empty(len(key), np.int64)
    order[np.argsort(key, kind="stable")] = np.lexsort((rng.random(len(key)), key))
    return order
