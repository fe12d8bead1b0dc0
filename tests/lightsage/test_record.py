"""What the digest and the causes say without a number, read from the records."""

from __future__ import annotations

import polars as pl

from okml.ledger import RunRecord
from tests.recorded import interval, recorded


def column(table: pl.DataFrame, name: str) -> dict[str, float]:
    """Return a column by arm."""
    return dict(table.select("arm", name).iter_rows())


def side(record: RunRecord, name: str) -> int:
    """Return the sign of a metric; 0 if chance could explain it."""
    low, high = interval(record, name)
    return (low > 0) - (high < 0)


def test_the_graphs_of_the_shop() -> None:
    record, tables = recorded("lightsage", "cpu")
    graphs = tables["graphs"]
    other, clones = column(graphs, "other product"), column(graphs, "clones")
    assert other["strong"] - other["weak"] < clones["strong"] - clones["weak"]
    edges, same = column(graphs, "edges"), column(graphs, "same category")
    assert abs(edges["weak, as few edges"] / edges["strong"] - 1) < 0.001
    every = "full, all swing of all clicks"
    assert 1.8 < edges[every] / edges["full"] < 2.2
    assert same[every] < same["full"] <= same["full, swing of all clicks"]
    for name in (
        "fewer_edges_hr10_gain_over_weak_graph", "swing_hr10_gain", "swing_hr10_gain_over_strong",
        "swing_hr10_gain_over_cosine", "strong_input_hr10_gain",
        "swing_hr10_gain_where_search_is_scarce",
    ):  # fmt: skip
        assert side(record, name) == 0, name
    assert side(record, "strong_input_hr10_gain_over_all") > 0
    shares = {row["part"]: row for row in tables["overlap"].to_dicts()}["swing"]
    assert 0.5 < shares["strong"] < 0.6
    assert 0.7 < shares["search"] < 0.8
    reached = dict(tables["edges"].select("part", "coverage").iter_rows())
    assert reached["swing"] < reached["strong"] / 2


def test_where_the_feed_follows_the_item_all_clicks_are_ahead() -> None:
    record, _ = recorded("lightsage", "night")
    assert side(record, "strong_hr10_gain_in_view") < 0
    assert side(record, "fewer_edges_hr10_gain_in_view") == 0


def test_leaving_the_edge_out_costs_at_neighbors() -> None:
    small, _ = recorded("lightsage", "cpu")
    assert side(small, "leave_edge_out_hr10_gain_at_neighbors") < 0
    assert side(small, "leave_edge_out_hr10_gain_elsewhere") > 0
    large, _ = recorded("lightsage", "night")
    assert side(large, "leave_edge_out_hr10_gain_elsewhere") == 0
    share = large.metrics["share_of_pairs_at_neighbors"].mean
    assert 0.045 < share < 0.065  # "one test pair in twenty"
    there = large.metrics["leave_edge_out_hr10_gain_at_neighbors"].mean
    whole = large.metrics["leave_edge_out_hr10_gain"].mean
    assert 0.9 < share * there / whole < 1.1


def test_the_tail() -> None:
    small, tables = recorded("lightsage", "cpu")
    tail = tables["tail"]
    alone, pooled = "trained alone, own vectors", "trained pooled, own vectors"
    assert column(tail, "head")[pooled] < column(tail, "head")[alone]
    assert side(small, "similar_groups_cold_hr10_gain") == 0
    for name in ("one_group_a_type", "larger_groups", "hidden_neighborhoods"):
        assert side(small, f"{name}_cold_hr10_gain") > 0
    assert side(small, "hidden_neighborhoods_hr10_gain") > 0
    assert side(small, "pooled_training_tail_target_gain") < 0
    large, _ = recorded("lightsage", "night")
    for name in ("cold_hr10_gain", "pooled_training_tail_target_gain"):
        assert side(large, name) == 0, name


def test_the_rivals() -> None:
    small, tables = recorded("lightsage", "cpu")
    assert side(small, "main_hr10_gain_over_best_rival") == 0
    networks = column(tables["networks"], "tail")
    assert networks["V5"] < networks["V0"]  # the graph adds to the features in the shop
    large, tables = recorded("lightsage", "night")
    baskets, sessions = tables["baselines"], tables["real_summary"].filter(data="ader_diginetica")
    ours, features = "LightSAGE", "features"
    for table, first in ((baskets, "popularity"), (sessions, "lightgcn items")):
        tail = column(table, "tail")
        assert max(tail, key=tail.__getitem__) == first
        assert tail[ours] < tail[features]
    everywhere = column(sessions, "hr@10")
    assert everywhere[ours] < everywhere[features]
    rising = column(baskets, "rising")
    assert rising["lightgcn users"]
    assert rising["lightgcn items"]
    for name in ("", "main_"):
        assert side(large, f"{name}hr10_gain_over_best_rival_on_head") < 0
        assert side(large, f"{name}hr10_gain_over_best_rival_on_tail") > 0
    assert side(large, "hr10_gain_over_best_rival_with_item_vectors") == 0
    assert side(large, "main_hr10_gain_over_best_rival_with_item_vectors") < 0
    assert side(large, "main_popularity_hr10_gain_over_network") > 0
    assert side(large, "main_popularity_hr10_gain_over_network_on_tail_targets") < 0
    # At cold targets the network is not seen to differ from one on features alone.
    assert side(large, "no_graph_cold_hr10_gain") == 0
