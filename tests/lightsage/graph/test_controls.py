from __future__ import annotations

import numpy as np
import polars as pl

from okml.lightsage.graph import (
    build_graph,
    clean,
    random_edges,
    random_graph,
    shuffled_queries,
)
from okml.lightsage.graph.edges import EDGE_SCHEMA, in_order
from okml.lightsage.graph.search import search_edges
from tests.lightsage.graph.logs import random_log


def ring(items: int, reach: int) -> pl.DataFrame:
    rows = [(i, (i + step) % items, 1.0 / step) for i in range(items) for step in range(1, reach)]
    return in_order(pl.DataFrame(rows, schema=EDGE_SCHEMA, orient="row"))


def test_degrees_and_weights_stay_and_the_links_do_not() -> None:
    edges = ring(200, 6)
    mixed = random_edges(edges, seed=0)
    for column in ("item", "neighbor"):
        assert mixed[column].sort().equals(edges[column].sort())
    assert (
        mixed.select("item", "weight")
        .sort("item", "weight")
        .equals(edges.select("item", "weight").sort("item", "weight"))
    )
    assert mixed.select("item", "neighbor").is_unique().all()
    assert not (mixed["item"] == mixed["neighbor"]).any()
    # By chance an edge is among the old ones with probability 5 / 200.
    kept = mixed.join(edges, on=["item", "neighbor"], how="semi").height / edges.height
    assert kept < 0.06


def test_seeds_decide() -> None:
    edges = ring(50, 4)
    assert random_edges(edges, 1).equals(random_edges(edges, 1))
    assert not random_edges(edges, 1).equals(random_edges(edges, 2))


def test_edges_that_have_one_form_stay() -> None:
    star = in_order(
        pl.DataFrame([(0, j, 1.0) for j in range(1, 6)], schema=EDGE_SCHEMA, orient="row")
    )
    assert random_edges(star, 0).equals(star)
    assert random_edges(star.head(1), 0).equals(star.head(1))
    assert random_edges(star.head(0), 0).is_empty()


def test_a_random_graph_has_the_shape_of_the_graph() -> None:
    graph = build_graph(clean(random_log(3_000, 60, 80, seed=0)), 80)
    mixed = random_graph(graph, seed=0)
    assert mixed.degrees.tolist() == graph.degrees.tolist()
    assert np.bincount(mixed.neighbors, minlength=80).tolist() == (
        np.bincount(graph.neighbors, minlength=80).tolist()
    )
    assert np.allclose(mixed.matrix().sum(axis=1), graph.matrix().sum(axis=1))
    assert mixed.directed.height == graph.directed.height
    assert not np.array_equal(mixed.neighbors, graph.neighbors)


def test_shuffled_queries_keep_sizes_and_items_and_lose_the_link() -> None:
    episodes = 150
    rows = {
        "user": np.repeat(np.arange(episodes), 2),
        "session": np.repeat(np.arange(episodes), 2),
        "ts": np.tile([0, 60_000], episodes),
        "item": np.column_stack([np.arange(episodes) % 75 * 2, np.arange(episodes) % 75 * 2 + 1])
        .ravel(),
        "episode": np.repeat(np.arange(episodes), 2),
        "query": np.repeat(np.arange(episodes) % 75, 2),
    }  # fmt: skip
    log = clean(
        pl.DataFrame(rows).select(
            pl.col("user", "session", "ts"),
            pl.col("item").cast(pl.Int32),
            action=pl.lit("click"),
            source=pl.lit("search"),
            from_item=pl.lit(-1, pl.Int32),
            query="query",
            episode=pl.col("episode").cast(pl.Int32),
        )
    )
    mixed = shuffled_queries(log, seed=0)
    assert mixed.frame["episode"].sort().equals(log.frame["episode"].sort())
    assert mixed.frame.drop("query", "episode").equals(log.frame.drop("query", "episode"))
    one_query = mixed.frame.group_by("episode").agg(pl.col("query").n_unique())
    assert one_query["query"].max() == 1
    true, false = search_edges(log), search_edges(mixed)
    assert true.join(false, on=["item", "neighbor"], how="semi").height < 0.1 * true.height


def test_shuffling_a_log_without_searches_changes_nothing() -> None:
    log = clean(random_log(100, 3, 5, seed=0).with_columns(source=pl.lit("feed")))
    assert shuffled_queries(log, 0).frame.equals(log.frame)
