"""Rewired edges, against what the exchange of two pairs leaves as it is."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from okml.lightsage.graph import MergeSettings, graph_of
from okml.lightsage.graph.edges import EDGE_SCHEMA, in_order
from okml.lightsage.graph.graph import PART
from okml.lightsage.graph.rewiring import rewired


def merged(seed: int, items: int, pairs: int, most_neighbors: int) -> pl.DataFrame:
    """Return a merged graph of random strong and search pairs; some are kept by one end only."""
    rng = np.random.default_rng(seed)
    edges = {}
    for part in ("strong", "search"):
        ends = rng.integers(items, size=(pairs, 2))
        ends = np.unique(np.sort(ends[ends[:, 0] != ends[:, 1]], axis=1), axis=0)
        rows = [(int(i), int(j), float(rng.integers(1, 5))) for i, j in ends]
        edges[part] = in_order(pl.DataFrame(rows, schema=EDGE_SCHEMA, orient="row"))
    parts = MergeSettings(parts=("strong", "search"), most_neighbors=most_neighbors)
    return graph_of(edges, items, parts).edges


def by_item(edges: pl.DataFrame, values: np.ndarray) -> Counter[tuple[int, float]]:
    return Counter(zip(edges["item"].to_list(), values.tolist(), strict=True))


@given(st.integers(0, 2**32 - 1), st.integers(2, 14), st.integers(1, 40), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_an_item_keeps_its_number_of_neighbors_their_keys_and_its_weights(
    seed: int, items: int, pairs: int, most_neighbors: int
) -> None:
    rng = np.random.default_rng(seed)
    true, key = merged(seed, items, pairs, most_neighbors), rng.integers(3, size=items)
    mixed = rewired(true, "search", key, rng)
    assert mixed.schema == true.schema
    assert mixed.select("item", "neighbor").is_unique().all()
    assert (mixed["item"] != mixed["neighbor"]).all()
    assert mixed.equals(mixed.sort("item", "neighbor"))
    assert mixed.filter(part="strong").equals(true.filter(part="strong"))
    assert by_item(mixed, mixed["weight"].to_numpy()) == by_item(true, true["weight"].to_numpy())
    for ends in (("item", "neighbor"), ("neighbor", "item")):
        found, expected = (
            Counter(zip(edges[ends[0]].to_list(), key[edges[ends[1]].to_numpy()], strict=True))
            for edges in (mixed, true)
        )
        assert found == expected
    both = [
        edges.join(edges, left_on=["item", "neighbor"], right_on=["neighbor", "item"]).height
        for edges in (mixed, true)
    ]
    assert both[0] == both[1]  # what both ends have among their neighbors


def pairs_of(*pairs: tuple[int, int]) -> pl.DataFrame:
    rows = [(i, j, 1.0, "search") for pair in pairs for i, j in (pair, pair[::-1])]
    schema = {**EDGE_SCHEMA, "part": PART}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("item", "neighbor")


def test_every_way_to_join_four_items_in_two_pairs_is_as_likely() -> None:
    true, key = pairs_of((0, 1), (2, 3)), np.zeros(4, int)
    partners = Counter(
        rewired(true, "search", key, np.random.default_rng(seed))["neighbor"][0]
        for seed in range(300)
    )
    assert set(partners) == {1, 2, 3}
    assert all(abs(count - 100) < 35 for count in partners.values())  # sd: 8.2


def test_most_pairs_of_a_large_graph_are_others() -> None:
    true, key = merged(0, 400, 1500, 60), np.zeros(400, int)  # no end drops a pair
    search = true.filter(part="search")
    mixed = rewired(true, "search", key, np.random.default_rng(1)).filter(part="search")
    same = search.join(mixed, on=["item", "neighbor"], how="semi").height
    assert same < 0.1 * search.height


def test_pairs_of_different_keys_have_nothing_to_exchange() -> None:
    true = pairs_of((0, 1), (2, 3))
    assert rewired(true, "search", np.array([0, 0, 1, 1]), np.random.default_rng(0)).equals(true)
