"""Search edges: two items that one user opened from the results of one query.

An episode with a set C of opened items adds 1 / (|C| - 1) to each ordered pair of them, so that
each item has a total weight of 1 and long episodes do not dominate.
"""

from __future__ import annotations

import polars as pl

from okml.lightsage.graph.edges import in_order, rounded
from okml.lightsage.graph.events import PAGES, Cleaned
from okml.lightsage.graph.settings import SearchSettings


def search_edges(log: Cleaned, settings: SearchSettings | None = None) -> pl.DataFrame:
    """Return the symmetric search edges, from at most ``most_items²`` pairs per episode."""
    settings = settings or SearchSettings()
    opened = (
        log.frame.lazy()
        .filter(pl.col("action").is_in(PAGES), pl.col("source") == "search", pl.col("episode") >= 0)
        .group_by("episode", "item")
        .agg(pl.col("query").max())
    )
    if settings.broad_query_discount:
        # Clicks without a known query are discounted by the size of their episode.
        breadth = (
            pl.when(pl.col("query") >= 0)
            .then(pl.col("item").n_unique().over("query"))
            .otherwise(pl.len().over("episode"))
        )
        opened = opened.with_columns(discount=(2 + breadth).log())
    else:
        opened = opened.with_columns(discount=pl.lit(1.0))
    episodes = opened.with_columns(size=pl.len().over("episode").cast(pl.Int64)).filter(
        pl.col("size").is_between(2, settings.most_items)
    )
    pairs = episodes.join(episodes.select("episode", neighbor="item"), on="episode").filter(
        pl.col("item") != pl.col("neighbor")
    )
    weight = (1 / ((pl.col("size") - 1) * pl.col("discount"))).sum()
    counted = pairs.group_by("item", "neighbor").agg(weight=rounded(weight))
    return in_order(counted.collect())
