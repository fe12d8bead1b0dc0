"""The graph against hand-worked cases, and against stored edges of the plain definitions."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from okml.errors import DataError
from okml.lightsage.graph import (
    GraphSettings,
    MergeSettings,
    Part,
    build_graph,
    clean,
    edges_of,
    graph_of,
)
from okml.lightsage.graph.edges import symmetric
from okml.lightsage.graph.graph import merge
from tests.lightsage.graph import golden, reference
from tests.lightsage.graph.logs import events, logs, random_log, visit

PARTS = golden.PARTS


def test_a_graph_of_two_pages() -> None:
    graph = build_graph(clean(events(*visit(0, 2))), items=4)
    assert graph.adjacency.csr.toarray() == pytest.approx(
        np.array([[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    )
    assert graph.adjacency.isolated.tolist() == [False, True, False, True]
    assert graph.directed.rows() == [(0, 2, 1.0)]
    assert graph.edges.rows() == [(0, 2, 1.0, "strong"), (2, 0, 1.0, "strong")]


def test_the_golden_edges_are_those_of_the_plain_definitions() -> None:
    assert_frame_equal(golden.by_definition(), golden.edges(), rel_tol=0, abs_tol=1e-12)
    counts = golden.edges().group_by("part").len()
    assert counts["len"].min() > 20  # every kind has something to compare


@pytest.mark.parametrize("part", PARTS)
def test_the_golden_log_gives_the_golden_edges(part: Part) -> None:
    found = edges_of(part, clean(golden.log()), golden.SETTINGS)
    columns = ["item", "neighbor", "weight"]
    assert_frame_equal(found.select(columns), golden.edges_of(part), rel_tol=0, abs_tol=1e-9)


def test_the_golden_log_gives_the_golden_graph() -> None:
    log, chosen = clean(golden.log()), golden.SETTINGS.merge
    counted = {part: edges_of(part, log, golden.SETTINGS) for part in PARTS}
    both_ways = {part: symmetric(edges) for part, edges in counted.items()}
    for name, edges in (("merged", both_ways), ("directed", counted)):
        found = merge(edges, chosen).drop("part")
        assert_frame_equal(found, golden.edges_of(name), rel_tol=0, abs_tol=1e-9)


@pytest.mark.parametrize("part", PARTS)
@settings(max_examples=20, deadline=None)
@given(logs)
def test_random_logs_give_the_edges_of_the_plain_definitions(part: Part, log: pl.DataFrame) -> None:
    cleaned = clean(log)
    swing = golden.SETTINGS.swing.model_copy(update={"most_item_users": 3, "least_pairs": 1})
    chosen = golden.SETTINGS.model_copy(update={"swing": swing})
    expected = reference.frame(reference.edges_of(part, cleaned, chosen))
    found = edges_of(part, cleaned, chosen).select(expected.columns)
    assert_frame_equal(found, expected, rel_tol=0, abs_tol=1e-9)


@pytest.mark.parametrize("how", ["fill_up", "union"])
def test_a_larger_log_gives_the_graph_of_the_plain_definitions(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Many ranges of items; the other tests merge all items at once.
    monkeypatch.setattr("okml.lightsage.graph.graph.RANGE_ENTRIES", 100)
    chosen = GraphSettings(merge=MergeSettings(how=how, most_neighbors=5))
    log = clean(random_log(3_000, 80, 150, seed=2))
    counted = {p: reference.edges_of(p, log, chosen) for p in chosen.merge.parts}
    both_ways = {part: reference.symmetric(edges) for part, edges in counted.items()}
    expected = np.zeros((150, 150))
    for (item, neighbor), weight in reference.merge(both_ways, chosen.merge).items():
        expected[item, neighbor] = weight
    expected /= np.maximum(expected.sum(1, keepdims=True), 1e-30)
    graph = build_graph(log, 150, chosen)
    np.testing.assert_allclose(graph.adjacency.csr.toarray(), expected, atol=1e-6)
    directed = reference.frame(reference.merge(counted, chosen.merge))
    assert_frame_equal(graph.directed, directed, rel_tol=0, abs_tol=1e-9)


@settings(max_examples=15, deadline=None)
@given(logs)
def test_rows_sum_to_one_or_zero_and_hold_at_most_k(log: pl.DataFrame) -> None:
    chosen = GraphSettings(merge=MergeSettings(parts=PARTS, most_neighbors=3))
    graph = build_graph(clean(log), items=12, settings=chosen)
    sums = graph.adjacency.csr.sum(axis=1)
    assert sums == pytest.approx(np.where(graph.adjacency.isolated, 0, 1), abs=1e-6)
    assert graph.adjacency.degrees.max() <= 3
    assert graph.edges.filter(pl.col("item") == pl.col("neighbor")).is_empty()
    assert graph.edges.equals(graph.edges.unique(["item", "neighbor"]).sort("item", "neighbor"))


@settings(max_examples=10, deadline=None)
@given(logs)
def test_the_order_of_edges_does_not_matter(log: pl.DataFrame) -> None:
    cleaned = clean(log)
    edges = {part: edges_of(part, cleaned) for part in PARTS}
    shuffled = {part: of.sample(fraction=1, shuffle=True, seed=0) for part, of in edges.items()}
    chosen = MergeSettings(parts=PARTS, most_neighbors=2)
    assert graph_of(edges, 12, chosen).edges.equals(graph_of(shuffled, 12, chosen).edges)


def test_an_item_beyond_n_is_an_error() -> None:
    with pytest.raises(DataError, match="has item 7, but there are 5 items"):
        build_graph(clean(events(*visit(0, 7))), items=5)


def test_a_log_without_edges_gives_isolated_items() -> None:
    graph = build_graph(clean(events(*visit(3))), items=5)
    assert graph.edges.is_empty()
    assert graph.adjacency.isolated.all()
    assert graph.adjacency.csr.shape == (5, 5)


def test_parts_are_chosen_by_the_settings() -> None:
    log = clean(events(*visit(0, 1), *visit(2, 3, session=1, source="search", episode=4)))
    search = GraphSettings(merge=MergeSettings(parts=("search",)))
    assert build_graph(log, 4, search).edges["part"].unique().to_list() == ["search"]
