"""From a cleaned log to the item graph."""

from __future__ import annotations

import polars as pl

from okml.lightsage.graph.events import Cleaned
from okml.lightsage.graph.graph import ItemGraph
from okml.lightsage.graph.settings import Engine, GraphSettings, Part


def edges_of(
    part: Part, log: Cleaned, settings: GraphSettings | None = None, engine: Engine = "memory"
) -> pl.DataFrame:
    """Return the edges of one kind, counted and not yet capped (Swing and cosine: their top K)."""
    raise NotImplementedError


def build_graph(
    log: Cleaned, items: int, settings: GraphSettings | None = None, engine: Engine = "memory"
) -> ItemGraph:
    """Count all kinds of edges that ``settings.merge.parts`` names and merge them.

    Args:
        log: What happened in the training period.
        items: N; items without an event are isolated.
        settings: Rules, caps and priorities.
        engine: What counts: memory, DuckDB or Spark; all give the same graph.

    Raises:
        DataError: If an item's number is N or more.
    """
    raise NotImplementedError
