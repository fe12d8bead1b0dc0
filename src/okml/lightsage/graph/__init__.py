"""The item graph: strong transitions, Swing and search co-clicks, merged and capped.

``build_graph(clean(events), items)`` builds it; each kind of edge has a module.
"""

from okml.lightsage.graph.build import build_graph, build_graph_from_files, edges_of, graph_of
from okml.lightsage.graph.controls import heaviest, shuffled_queries
from okml.lightsage.graph.cosine import cosine
from okml.lightsage.graph.edges import EDGE_SCHEMA
from okml.lightsage.graph.events import EVENT_SCHEMA, Cleaned, clean
from okml.lightsage.graph.graph import ItemGraph
from okml.lightsage.graph.report import graph_report, overlap, part_report
from okml.lightsage.graph.settings import (
    CleaningSettings,
    Engine,
    GraphSettings,
    MergeSettings,
    Part,
    SearchSettings,
    StrongSettings,
    SwingSettings,
)
from okml.lightsage.graph.strong import transitions
from okml.lightsage.graph.swing import swing

__all__ = [
    "EDGE_SCHEMA",
    "EVENT_SCHEMA",
    "Cleaned",
    "CleaningSettings",
    "Engine",
    "GraphSettings",
    "ItemGraph",
    "MergeSettings",
    "Part",
    "SearchSettings",
    "StrongSettings",
    "SwingSettings",
    "build_graph",
    "build_graph_from_files",
    "clean",
    "cosine",
    "edges_of",
    "graph_of",
    "graph_report",
    "heaviest",
    "overlap",
    "part_report",
    "shuffled_queries",
    "swing",
    "transitions",
]
