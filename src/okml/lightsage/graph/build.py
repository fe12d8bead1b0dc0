"""Construction of the item graph from a cleaned log."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from okml.errors import DataError, ParameterError
from okml.lightsage.graph.cosine import cosine
from okml.lightsage.graph.edges import symmetric
from okml.lightsage.graph.events import Cleaned
from okml.lightsage.graph.graph import ItemGraph
from okml.lightsage.graph.merging import merge
from okml.lightsage.graph.relational.engines import (
    edges_with,
    merged_from_files,
    merged_with,
)
from okml.lightsage.graph.search import search_edges
from okml.lightsage.graph.settings import (
    CleaningSettings,
    Engine,
    GraphSettings,
    MergeSettings,
    Part,
)
from okml.lightsage.graph.strong import strong_edges
from okml.lightsage.graph.swing import swing
from okml.lightsage.graph.user_items import user_items
from okml.lightsage.graph.weak import weak_edges


def edges_of(
    part: Part, log: Cleaned, settings: GraphSettings | None = None, engine: Engine = "memory"
) -> pl.DataFrame:
    """Return the edges of one kind before the cap of the merge (Swing and cosine: their top K)."""
    settings = settings or GraphSettings()
    if engine != "memory":
        return edges_with(engine, [part], log, settings)[part]
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


def build_graph(
    log: Cleaned, items: int, settings: GraphSettings | None = None, engine: Engine = "memory"
) -> ItemGraph:
    """Count all kinds of edges that ``settings.merge.parts`` names and merge them.

    Args:
        log: Cleaned log of the training period.
        items: Number of items N; items without events are isolated.
        settings: Rules, caps and priorities.
        engine: Engine of the counting: memory, DuckDB or Spark, with equal results.

    Raises:
        DataError: If an item's number is N or more.
    """
    settings = settings or GraphSettings()
    if engine == "memory":
        edges = {part: edges_of(part, log, settings) for part in settings.merge.parts}
        return graph_of(edges, items, settings.merge)
    merged, directed = merged_with(engine, log, settings)
    return from_merged(merged, directed.drop("part"), items, settings.merge.parts)


def build_graph_from_files(
    files: str,
    items: int,
    settings: GraphSettings | None = None,
    cleaning: CleaningSettings | None = None,
    engine: Engine = "duckdb",
) -> ItemGraph:
    """Build the graph of a log that is larger than memory, or spread over a cluster.

    Args:
        files: Parquet files of ``EVENT_SCHEMA`` and ``row`` (Int64), the order of the log: a path,
            a pattern, or an address that the engine can read.
        items: Number of items N; only the graph's N·K entries are loaded into this process.
        settings: Rules, caps and priorities.
        cleaning: Settings of the cleaning.
        engine: DuckDB or Spark; an active Spark session is used.

    Raises:
        DataError: If columns or values are invalid, or an item's number is N or more.
        ParameterError: If the engine is ``memory``.
    """
    if engine == "memory":
        raise ParameterError(
            "The engine in memory reads no files.", "Use duckdb or spark, or build_graph."
        )
    settings = settings or GraphSettings()
    merged, directed = merged_from_files(engine, files, settings, cleaning or CleaningSettings())
    return from_merged(merged, directed.drop("part"), items, settings.merge.parts)


def graph_of(
    edges: Mapping[Part, pl.DataFrame], items: int, settings: MergeSettings | None = None
) -> ItemGraph:
    """Merge kinds of edges that are already counted, which ablations share.

    Args:
        edges: Edge frame for each of ``settings.parts``; others are ignored.
        items: Number of items N.
        settings: Priorities, coefficients and K.

    Raises:
        DataError: If an item's number is N or more.
    """
    settings = settings or MergeSettings()
    merged = merge({part: symmetric(edges[part]) for part in settings.parts}, settings)
    directed = merge({part: edges[part] for part in settings.parts}, settings)
    return from_merged(merged, directed.drop("part"), items, settings.parts)


def from_merged(
    merged: pl.DataFrame, directed: pl.DataFrame, items: int, part_names: tuple[str, ...]
) -> ItemGraph:
    """Normalize the rows of merged edges, ``item, neighbor, weight, part``, into A."""
    ordered = merged.sort("item", "neighbor")
    largest = ordered.select(pl.max_horizontal("item", "neighbor").max().fill_null(-1)).item()
    if largest >= items:
        raise DataError(
            f"The log has item {largest}, but there are {items} items.",
            "Number items from 0 and pass how many there are.",
        )
    share = ordered["weight"] / ordered.select(pl.col("weight").sum().over("item"))["weight"]
    degrees = np.bincount(ordered["item"].to_numpy(), minlength=items)
    return ItemGraph(
        items=items,
        offsets=np.concatenate([[0], np.cumsum(degrees)]).astype(np.int64),
        neighbors=np.array(ordered["neighbor"].to_numpy()),
        weights=share.to_numpy().astype(np.float32),
        parts=np.array(ordered["part"].to_numpy()),
        part_names=part_names,
        directed=directed,
    )
