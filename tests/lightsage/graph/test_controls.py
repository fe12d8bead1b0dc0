from __future__ import annotations

import numpy as np
import polars as pl

from okml.lightsage.graph import clean, search_edges
from okml.lightsage.graph.ablation import heaviest, shuffled_queries
from okml.lightsage.graph.edges import EDGE_SCHEMA, in_order
from tests.lightsage.graph.logs import random_log


def test_the_heaviest_edges_are_those_and_ties_are_drawn() -> None:
    rows = [(0, 1, 3.0), (0, 2, 1.0), (1, 2, 5.0), (2, 0, 1.0), (2, 1, 1.0)]
    edges = in_order(pl.DataFrame(rows, schema=EDGE_SCHEMA, orient="row"))
    assert heaviest(edges, 2, seed=0).rows() == [(0, 1, 3.0), (1, 2, 5.0)]
    assert heaviest(edges, 9, seed=0).equals(edges)
    drawn = {heaviest(edges, 3, seed).filter(weight=1).rows()[0] for seed in range(40)}
    assert drawn == {(0, 2, 1.0), (2, 0, 1.0), (2, 1, 1.0)}


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
    mixed = shuffled_queries(log, 0, np.zeros(150, int))
    assert mixed["episode"].sort().equals(log["episode"].sort())
    assert mixed.drop("query", "episode").equals(log.drop("query", "episode"))
    one_query = mixed.group_by("episode").agg(pl.col("query").n_unique())
    assert one_query["query"].max() == 1
    true, false = search_edges(log), search_edges(mixed)
    assert true.join(false, on=["item", "neighbor"], how="semi").height < 0.1 * true.height
    # Among items of ten keys, each episode keeps the keys of its clicks.
    key = np.arange(150) % 10
    within = shuffled_queries(log, 0, key)
    assert not within.equals(log)
    keyed = [
        frame.with_columns(key=pl.Series(key[frame["item"].to_numpy()])).sort("episode", "key")
        for frame in (log, within)
    ]
    assert keyed[0].select("episode", "key").equals(keyed[1].select("episode", "key"))


def test_shuffling_a_log_without_searches_changes_nothing() -> None:
    log = clean(random_log(100, 3, 5, seed=0).with_columns(source=pl.lit("feed")))
    assert shuffled_queries(log, 0, np.zeros(5, int)).equals(log)
