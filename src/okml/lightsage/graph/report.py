"""What a graph looks like, in numbers."""

from __future__ import annotations

import polars as pl

from okml.lightsage.graph.graph import ItemGraph


def part_report(
    edges: dict[str, pl.DataFrame], items: int, category: pl.Series | None = None
) -> pl.DataFrame:
    """Describe each kind of edges, a row a kind.

    Columns: ``part``, ``edges``, ``coverage`` (share of items with an edge), ``same_category``
    (weighted share of edges within a category; null without categories), ``out_median``,
    ``out_p90``, ``in_p90``, ``in_gini``, ``largest_component`` (share of items).
    """
    raise NotImplementedError


def overlap(edges: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the share of pairs of one kind (row) that another kind (column) has too."""
    raise NotImplementedError


def graph_report(graph: ItemGraph, category: pl.Series | None = None) -> pl.DataFrame:
    """Describe the merged graph in one row of ``part_report``."""
    raise NotImplementedError
