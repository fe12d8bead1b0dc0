"""Controls: fewer edges, shuffled queries, and shuffling within categories and types."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.lightsage.graph.edges import in_order
from okml.lightsage.graph.events import PAGES, Cleaned


def heaviest(edges: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    """Return the ``most`` heaviest edges, with ties broken at random."""
    drawn = pl.Series(np.random.default_rng(seed).permutation(edges.height), dtype=pl.Int64)
    ordered = edges.with_columns(drawn=drawn).sort("weight", "drawn", descending=[True, False])
    return in_order(ordered.head(most).drop("drawn"))


def shuffled_queries(log: Cleaned, seed: int, key: NDArray[np.integer]) -> Cleaned:
    """Return a log with clicks on search results shuffled among items of one key.

    Queries keep their number of clicks by key, and items keep their number of clicks from search;
    the query of a click is drawn among the clicks on items of the same key.

    Args:
        log: Cleaned log to shuffle.
        seed: Random seed of the shuffle.
        key: Key of each item, such as its category and type, ``[N]``.
    """
    frame = log.frame
    clicks = frame.select(
        (pl.col("source") == "search") & (pl.col("episode") >= 0) & pl.col("action").is_in(PAGES)
    ).to_series()
    places = clicks.arg_true().to_numpy()
    keys = key[frame["item"].to_numpy()[places]]
    drawn = places[shuffled_within(keys, np.random.default_rng(seed))]
    columns = {}
    for name in ("query", "episode"):
        values = np.array(frame[name].to_numpy())
        values[places] = values[drawn]
        columns[name] = pl.Series(values, dtype=frame.schema[name])
    return replace(log, frame=frame.with_columns(**columns))


def shuffled_within(key: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a random permutation, ``[n]``, that keeps keys: ``key[order] == key``."""
    order = np.empty(len(key), np.int64)
    order[np.argsort(key, kind="stable")] = np.lexsort((rng.random(len(key)), key))
    return order
