"""What must spoil a graph if it is worth anything: the same amount of evidence, its link broken."""

from __future__ import annotations

import polars as pl

from okml.lightsage.graph.events import Cleaned
from okml.lightsage.graph.graph import ItemGraph


def random_edges(edges: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return random edges of equal degree, by swapping the ends of random pairs of edges.

    Every item keeps its weights and how many neighbors it has, and is a neighbor as often as
    before; no edge leads to its own item and none is doubled.
    """
    raise NotImplementedError


def random_graph(graph: ItemGraph, seed: int) -> ItemGraph:
    """Return a graph whose entries and whose directed edges are ``random_edges`` of the graph's."""
    raise NotImplementedError


def shuffled_queries(log: Cleaned, seed: int) -> Cleaned:
    """Return a log in which every click on search results belongs to a random query.

    Queries keep how many clicks they have and items how often they were opened from search.
    """
    raise NotImplementedError
