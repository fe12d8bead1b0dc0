from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from okml.errors import DataError
from okml.lightsage.graph import GraphSettings, MergeSettings, build_graph, clean
from okml.lightsage.graph.build import edges_of, graph_of
from tests.lightsage.graph.logs import events, logs, visit

PARTS = ("strong", "search", "swing", "cosine", "weak")


def test_a_graph_of_two_pages() -> None:
    graph = build_graph(clean(events(*visit(0, 2))), items=4)
    assert graph.matrix().toarray() == pytest.approx(
        np.array([[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    )
    assert graph.isolated.tolist() == [False, True, False, True]
    assert graph.directed.rows() == [(0, 2, 1.0)]
    assert graph.frame().rows() == [(0, 2, 1.0, "strong"), (2, 0, 1.0, "strong")]


@settings(max_examples=40, deadline=None)
@given(logs)
def test_rows_sum_to_one_or_zero_and_hold_at_most_k(log: pl.DataFrame) -> None:
    chosen = GraphSettings(merge=MergeSettings(parts=PARTS, most_neighbors=3))
    graph = build_graph(clean(log), items=12, settings=chosen)
    sums = graph.matrix().sum(axis=1)
    assert sums == pytest.approx(np.where(graph.isolated, 0, 1), abs=1e-6)
    assert graph.degrees.max() <= 3
    assert not (graph.rows() == graph.neighbors).any()
    assert (np.diff(graph.rows() * 100 + graph.neighbors) > 0).all()


@settings(max_examples=25, deadline=None)
@given(logs)
def test_the_order_of_edges_does_not_matter(log: pl.DataFrame) -> None:
    cleaned = clean(log)
    edges = {part: edges_of(part, cleaned) for part in PARTS}
    shuffled = {part: of.sample(fraction=1, shuffle=True, seed=0) for part, of in edges.items()}
    chosen = MergeSettings(parts=PARTS, most_neighbors=2)
    one, other = graph_of(edges, 12, chosen), graph_of(shuffled, 12, chosen)
    assert one.matrix().toarray().tolist() == other.matrix().toarray().tolist()


def test_an_item_beyond_n_is_an_error() -> None:
    with pytest.raises(DataError, match="has item 7, but there are 5 items"):
        build_graph(clean(events(*visit(0, 7))), items=5)


def test_a_log_without_edges_gives_isolated_items() -> None:
    graph = build_graph(clean(events(*visit(3))), items=5)
    assert len(graph) == 0
    assert graph.isolated.all()
    assert graph.matrix().shape == (5, 5)


def test_parts_are_chosen_by_the_settings() -> None:
    log = clean(events(*visit(0, 1), *visit(2, 3, session=1, source="search", episode=4)))
    search = GraphSettings(merge=MergeSettings(parts=("search",)))
    assert build_graph(log, 4, search).frame()["part"].unique().to_list() == ["search"]
