from __future__ import annotations

from typing import Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.lightsage.graph.edges import EDGE_SCHEMA, in_order, rounded, strongest, symmetric
from okml.lightsage.graph.graph import merge
from okml.lightsage.graph.settings import MergeSettings, Part
from tests.lightsage.graph import reference

Triples = list[tuple[int, int, float]]


def frame(rows: Triples) -> pl.DataFrame:
    return in_order(pl.DataFrame(rows, schema=EDGE_SCHEMA, orient="row"))


edge_lists = st.dictionaries(
    st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda pair: pair[0] != pair[1]),
    st.sampled_from([0.1, 1 / 3, 0.5, 1.0, 2.0, 7.0]),
    max_size=20,
).map(lambda found: [(i, j, reference.to_step(weight)) for (i, j), weight in found.items()])


def test_a_duplicate_keeps_the_stronger_kind_and_others_fill_up() -> None:
    parts: dict[Part, pl.DataFrame] = {
        "strong": frame([(0, 1, 4.0), (0, 2, 1.0)]),
        "search": frame([(0, 2, 5.0), (0, 3, 5.0), (0, 4, 1.0)]),
    }
    chosen = MergeSettings(parts=("strong", "search"), most_neighbors=3)
    assert merge(parts, chosen).rows() == [
        (0, 1, 1.0, "strong"),
        (0, 3, pytest.approx(0.7, abs=1e-9), "search"),
        (0, 2, 0.25, "strong"),
    ]


def test_union_adds_shares() -> None:
    parts: dict[Part, pl.DataFrame] = {
        "strong": frame([(0, 1, 3.0), (0, 2, 1.0)]),
        "search": frame([(0, 2, 5.0)]),
    }
    chosen = MergeSettings(parts=("strong", "search"), how="union")
    assert merge(parts, chosen).rows() == [
        (0, 2, pytest.approx(0.25 + 0.7, abs=1e-9), "strong"),
        (0, 1, 0.75, "strong"),
    ]


def test_ties_are_broken_by_number() -> None:
    tied = frame([(0, j, 1.0) for j in (9, 3, 7, 5)])
    assert strongest(tied, 2)["neighbor"].to_list() == [3, 5]


def test_both_directions_get_the_larger_weight() -> None:
    found = symmetric(frame([(0, 1, 2.0), (1, 0, 3.0), (0, 2, 1.0)]))
    assert found.rows() == [(0, 1, 3.0), (0, 2, 1.0), (1, 0, 3.0), (2, 0, 1.0)]


def test_rounding_makes_sums_in_any_order_equal() -> None:
    sums = pl.DataFrame({"weight": [0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1]})
    assert sums["weight"].n_unique() == 2
    assert sums.select(rounded(pl.col("weight")))["weight"].n_unique() == 1


@given(edge_lists, edge_lists, edge_lists, st.integers(1, 4), st.sampled_from(["fill_up", "union"]))
def test_random_edges_merge_as_the_plain_definition_says(
    strong: Triples, search: Triples, swing: Triples, most: int, how: Literal["fill_up", "union"]
) -> None:
    lists: dict[Part, Triples] = {"strong": strong, "search": search, "swing": swing}
    chosen = MergeSettings(parts=("strong", "search", "swing"), how=how, most_neighbors=most)
    found = merge({part: frame(rows) for part, rows in lists.items()}, chosen)
    expected = reference.merge(
        {part: {(i, j): weight for i, j, weight in rows} for part, rows in lists.items()}, chosen
    )
    assert found.drop("part").equals(reference.frame(expected))
    assert found.group_by("item").len()["len"].max() in (None, *range(most + 1))
