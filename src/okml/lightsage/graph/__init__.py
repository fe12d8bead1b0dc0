"""The item graph: strong transitions, Swing and search co-clicks, merged and capped.

``build_graph(clean(events), items)`` builds it; each kind of edge is a function of a cleaned log.
"""

from okml.lightsage.graph.clicks import search_edges, transitions
from okml.lightsage.graph.cosine import cosine
from okml.lightsage.graph.events import EVENT_SCHEMA, clean
from okml.lightsage.graph.graph import ItemGraph, build_graph, edges_of, graph_of
from okml.lightsage.graph.settings import (
    GraphSettings,
    MergeSettings,
    Part,
    SearchSettings,
    StrongSettings,
    SwingSettings,
)
from okml.lightsage.graph.swing import swing, user_items

__all__ = [
    "EVENT_SCHEMA",
    "GraphSettings",
    "ItemGraph",
    "MergeSettings",
    "Part",
    "SearchSettings",
    "StrongSettings",
    "SwingSettings",
    "build_graph",
    "clean",
    "cosine",
    "edges_of",
    "graph_of",
    "search_edges",
    "swing",
    "transitions",
    "user_items",
]
