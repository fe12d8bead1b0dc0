from __future__ import annotations

from unittest import mock

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from okml.lightsage.graph import Part, ablation, build_graph, graph_of
from okml.lightsage.graph.ablation import (
    GRAPHS,
    LogEdges,
    graph_by_name,
    heaviest_first,
    how_many,
)
from okml.lightsage.graph.edges import EDGE_SCHEMA, in_order
from okml.lightsage.graph.settings import MergeSettings
from okml.lightsage.settings import TaskSettings
from okml.lightsage.task import open_task
from tests.lightsage.tiny import SHOP


def test_the_heaviest_edges_are_those_and_ties_are_drawn() -> None:
    rows = [(0, 1, 3.0), (0, 2, 1.0), (1, 2, 5.0), (2, 0, 1.0), (2, 1, 1.0)]
    edges = in_order(pl.DataFrame(rows, schema=EDGE_SCHEMA, orient="row"))
    orders = [heaviest_first(edges, seed).rows() for seed in range(40)]
    assert all(order[:2] == [(1, 2, 5.0), (0, 1, 3.0)] for order in orders)
    assert {order[2] for order in orders} == {(0, 2, 1.0), (2, 0, 1.0), (2, 1, 1.0)}
    assert all(sorted(order) == sorted(edges.rows()) for order in orders)


def test_the_heaviest_edge_of_each_item_comes_before_second_ones() -> None:
    rows = [(0, 1, 9.0), (0, 2, 8.0), (0, 3, 7.0), (1, 2, 2.0), (1, 3, 1.0), (2, 0, 5.0)]
    edges = in_order(pl.DataFrame(rows, schema=EDGE_SCHEMA, orient="row"))
    found = heaviest_first(edges, seed=0, of_each_item=True).rows()
    assert found == [rows[0], rows[5], rows[3], rows[1], rows[4], rows[2]]


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(0, 80))
@settings(max_examples=60, deadline=None)
def test_a_cut_graph_is_as_large_as_another_and_one_more_edge_were_too_many(
    seed: int, most_neighbors: int, most: int
) -> None:
    rng = np.random.default_rng(seed)
    names: tuple[Part, ...] = ("strong", "weak")
    edges = {part: _drawn_edges(rng, items=9) for part in names}
    for parts in (names[1:], names):
        merged = MergeSettings(parts=parts, most_neighbors=most_neighbors)
        rest = graph_of(edges | {"weak": edges["weak"].clear()}, 9, merged)
        ordered = heaviest_first(edges["weak"], seed)
        count = how_many(ordered, rest, most, most_neighbors)
        sizes = [
            graph_of(edges | {"weak": in_order(ordered.head(number))}, 9, merged).edges.height
            for number in (count, count + 1)
        ]
        assert sizes[0] <= max(most, rest.edges.height)
        assert count == ordered.height or sizes[1] > most


def _drawn_edges(rng: np.random.Generator, items: int) -> pl.DataFrame:
    pairs = [(i, j) for i in range(items) for j in range(items) if i != j]
    chosen = rng.permutation(len(pairs))[: rng.integers(1, 30)]
    rows = [(*pairs[number], float(rng.integers(1, 4))) for number in chosen]
    return in_order(pl.DataFrame(rows, schema=EDGE_SCHEMA, orient="row"))


def test_each_kind_of_edges_of_a_log_is_counted_once() -> None:
    task = open_task(TaskSettings(name="synthetic", shop=SHOP), 0)
    counted = LogEdges(task.shop.train, task.items, task.settings.graph, task.key)
    with mock.patch.object(ablation, "edges_of", side_effect=ablation.edges_of) as count:
        graphs = {name: graph_by_name(name, counted, 0) for name in GRAPHS}
    # Swing's a second time, of all clicks.
    kinds = ["cosine", "search", "strong", "swing", "swing", "weak"]
    assert sorted(call.args[0] for call in count.call_args_list) == kinds
    whole = build_graph(task.shop.train, task.items, task.settings.graph)
    assert graphs["full"].edges.equals(whole.edges)
