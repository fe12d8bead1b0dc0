"""Events written as the files that the publishers of data sets offer, for :class:`OwnData`."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

Files = dict[str, bytes]
DAY = 86_400
GENRES = ("Comedy|War", "Drama")
# The columns of a log: two numbers, a time in Unix seconds, and whether the user liked the item.
Events = pl.DataFrame


def walks(
    users: int, events: int, items: int, *, start: int, gaps: tuple[int, ...], seed: int = 0
) -> Events:
    """Return users who walk around a ring of items, most steps being one item forward.

    They like the items of even numbers. No two events of a user have the same time if all gaps
    are positive.

    Args:
        users: Number of users, numbered from 1.
        events: Number of events of each user.
        items: Number of items, numbered from 1.
        start: The Unix time of the first user's first event.
        gaps: The seconds between events of a user, drawn with equal probability.
        seed: The seed of all draws.
    """
    rng = np.random.default_rng(seed)
    walked: list[NDArray[np.int64]] = []
    for user in range(1, users + 1):
        steps = rng.choice([1, 2, 5], p=[0.8, 0.1, 0.1], size=events)
        places = (rng.integers(items) + np.cumsum(steps)) % items + 1
        times = start + np.cumsum(rng.choice(gaps, size=events))
        walked += [np.stack([np.full(events, user), places, times], 1)]
    frame = pl.DataFrame(np.concatenate(walked), schema=["user", "item", "time"])
    return frame.with_columns(liked=pl.col("item") % 2 == 0)


def movielens(stem: str) -> Callable[[Events], Files]:
    """Return a writer of GroupLens's archive, such as ``ml-20m``: half stars, titles with years."""

    def write(events: Events) -> Files:
        stars = pl.when("liked").then(4.5).otherwise(2.0)
        ratings = events.sort("user", "item").select(  # the file is not in the order of time
            "user", "item", stars.alias("rating"), "time"
        )
        ratings.columns = ["userId", "movieId", "rating", "timestamp"]
        films = events.select(pl.col("item").unique().sort()).select(
            movieId="item",
            title=pl.format("Film, The {} (1999)", "item"),
            genres=pl.when(pl.col("item") % 2 == 0).then(pl.lit(GENRES[0])).otherwise(
                pl.lit(GENRES[1])
            ),
        )  # fmt: skip
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.writestr(f"{stem}/ratings.csv", ratings.write_csv())
            opened.writestr(f"{stem}/movies.csv", films.write_csv())
        return {f"{stem}.zip": archive.getvalue()}

    return write


def atomic(stem: str) -> Callable[[Events], Files]:
    """Return a writer of RecBole's atomic files, such as those of ``ml-100k``: whole stars."""

    def write(events: Events) -> Files:
        stars = pl.when("liked").then(5.0).otherwise(2.0)
        ratings = events.select("user", "item", stars.alias("rating"), "time")
        ratings.columns = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
        films = events.select(pl.col("item").unique().sort()).select(
            pl.col("item").alias("item_id:token"),
            pl.format("Film {}", "item").alias("movie_title:token_seq"),
            pl.lit(1999).alias("release_year:token"),
            pl.lit("Drama War").alias("class:token_seq"),
        )
        tables = {"inter": ratings, "item": films}
        return {
            f"{stem}.{kind}": table.write_csv(separator="\t").encode()
            for kind, table in tables.items()
        }

    return write


def gowalla(events: Events) -> Files:
    """Write SNAP's file of check-ins, every user's newest first."""
    lines = events.sort(["user", "time"], descending=[False, True]).select(
        "user",
        pl.from_epoch("time").dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias("moment"),
        (30 + pl.col("item") / 7).round(9).alias("latitude"),
        (-97 - pl.col("item") / 7).round(9).alias("longitude"),
        "item",
    )
    text = lines.write_csv(include_header=False, separator="\t")
    return {"loc-gowalla_totalCheckins.txt.gz": gzip.compress(text.encode(), mtime=0)}


def electronics(events: Events) -> Files:
    """Write Amazon's ratings of 2014, sorted by item, with the start of the day as the time."""
    stars = pl.when("liked").then(5.0).otherwise(2.0)
    lines = events.sort("item", maintain_order=True).select(
        pl.format("A{}LUOHB2NDG", "user"),
        pl.format("0594{}X", pl.col("item") + 100_000),
        stars.alias("rating"),
        pl.col("time") // DAY * DAY,
    )
    return {"ratings_Electronics.csv": lines.write_csv(include_header=False).encode()}


def yoochoose(events: Events) -> Files:
    """Write the clicks and purchases of the RecSys Challenge 2015: liked items are bought.

    Purchases come a minute after the click. Half of them have an unknown price and quantity, 0.
    """
    clicks = events.with_columns(category=pl.lit(0)).select(
        "user", _milliseconds(pl.col("time")), "item", "category"
    )
    known = pl.col("item") % 4 == 0
    buys = events.filter("liked").select(
        "user",
        _milliseconds(pl.col("time") + 60),
        "item",
        pl.when(known).then(1046).otherwise(0).alias("price"),
        pl.when(known).then(1).otherwise(0).alias("quantity"),
    )
    return {
        "yoochoose-clicks.dat": clicks.write_csv(include_header=False).encode(),
        "yoochoose-buys.dat": buys.write_csv(include_header=False).encode(),
    }


def _milliseconds(seconds: pl.Expr) -> pl.Expr:
    moment = pl.from_epoch(seconds)
    return moment.dt.strftime("%Y-%m-%dT%H:%M:%S.277Z").alias("moment")
