from __future__ import annotations

import networkx as nx
import numpy as np
import polars as pl
import pytest

from okml.lightsage.experiments.protocol import overlap, part_report
from okml.lightsage.graph import build_graph, clean
from okml.lightsage.graph.edges import EDGE_SCHEMA, in_order
from tests.lightsage.graph.logs import random_log


def frame(*rows: tuple[int, int, float]) -> pl.DataFrame:
    return in_order(pl.DataFrame(rows, schema=EDGE_SCHEMA, orient="row"))


def test_a_small_graph_by_hand() -> None:
    edges = frame((0, 1, 3.0), (1, 0, 1.0), (2, 1, 4.0))
    row = part_report({"x": edges}, 5, np.array([0, 0, 1, -1, 2])).row(0, named=True)
    assert row["edges"] == 3
    assert row["coverage"] == pytest.approx(3 / 5)
    assert row["same_category"] == pytest.approx(4 / 8)
    assert row["largest_component"] == pytest.approx(3 / 5)
    assert row["out_median"] == 1


def test_edges_of_unknown_category_do_not_count_as_wrong() -> None:
    edges = frame((0, 1, 1.0), (0, 3, 9.0))
    row = part_report({"x": edges}, 4, np.array([0, 0, 0, -1])).row(0, named=True)
    assert row["same_category"] == 1


def test_no_edges_and_no_categories() -> None:
    row = part_report({"x": frame()}, 3, np.full(3, -1)).row(0, named=True)
    assert (row["coverage"], row["largest_component"], row["same_category"]) == (0, 0, None)


def test_overlap_counts_pairs_whatever_their_direction() -> None:
    found = overlap({"a": frame((0, 1, 1.0), (2, 3, 1.0)), "b": frame((1, 0, 1.0), (0, 1, 1.0))})
    assert found.rows() == [("a", 1.0, 0.5), ("b", 1.0, 1.0)]


def test_the_largest_component_is_that_of_networkx() -> None:
    graph = build_graph(clean(random_log(60, 12, 40, seed=3)), 40)
    net = nx.Graph(graph.edges.select("item", "neighbor").rows())
    largest = max(len(part) for part in nx.connected_components(net))
    row = part_report({"x": graph.edges}, 40, np.full(40, -1)).row(0, named=True)
    assert row["largest_component"] == pytest.approx(largest / 40)
