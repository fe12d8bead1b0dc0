"""MovieLens-100K: ratings of four stars or more, as if they were page views.

There are no queries and no pages, so no search edges; consecutive good ratings of a visit replace
transitions, which is weak evidence. Ratings of the same second are ordered by item, because the
order of the file has no meaning.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.data import logs
from okml.data.logs.movielens_titles import U_ITEM_GENRES
from okml.lightsage.datasets.features import hashed_words, standardized
from okml.lightsage.datasets.shop_data import PAIR_SCHEMA, ShopData, item_table, page_views
from okml.lightsage.graph.events import clean
from okml.steps import files_used

GOOD = 4  # stars
TEST_SHARE, VALID_SHARE = 0.3, 0.1  # shares of users
PAIRS_A_USER = 20
DECADES = 9  # 1920s to 1990s, and unknown
TITLE_BUCKETS = 64
SPLIT_SEED = 0  # seed of the split and of the pairs, the same for every training
LOG = "ml_100k"


def movielens(seed: int = SPLIT_SEED) -> ShopData:
    """Return MovieLens-100K, split by users into training, validation and test.

    A test user has up to 20 random ordered pairs of two liked films.

    Args:
        seed: Random seed of the split and of the pairs. Trainings with different seeds share one
            split, because splits of one log share users, so their spread would not be that of
            users.

    Raises:
        DataError: If the files are not available.
    """
    log = logs.load(LOG)
    if log.titles is None:
        raise AssertionError("MovieLens has titles.")
    items = _items(log.titles)
    numbers = items.select("item", film="id")
    good = (
        log.frame.filter(pl.col("value") >= GOOD)
        .join(numbers.rename({"item": "number"}), left_on="item", right_on="film")
        .select(user=pl.col("user").cast(pl.Int64), item="number", ts=pl.col("time") * 1000)
        .sort("user", "ts", "item")
    )
    rng = np.random.default_rng(seed)
    users = rng.permutation(good["user"].unique().sort().to_numpy())
    tested, chosen = round(TEST_SHARE * len(users)), round(VALID_SHARE * len(users))
    test_users, valid_users = users[:tested], users[tested : tested + chosen]
    train = good.filter(~pl.col("user").is_in(users[: tested + chosen].tolist()))
    return ShopData(
        name=LOG,
        synthetic=False,
        train=clean(page_views(train)),
        valid=_random_pairs(good, valid_users, rng),
        test=_random_pairs(good, test_users, rng),
        items=items,
        features=standardized(_features(items, log.titles)),
        feature_notes="genres (19), decade (9), words of the title in 64 signed buckets",
        protocol=f"ratings of {GOOD} stars or more; {TEST_SHARE:.0%} of users test and "
        f"{VALID_SHARE:.0%} validate, each with up to {PAIRS_A_USER} random ordered pairs of films "
        "they liked; ties in time by item",
        notice=log.notice,
        used=files_used(LOG),
    )


def _items(titles: pl.DataFrame) -> pl.DataFrame:
    """Number films by their id; the category is the first genre, the type the decade."""
    genre = pl.col("genres").list.first().replace_strict(
        list(U_ITEM_GENRES), range(len(U_ITEM_GENRES)), default=-1, return_dtype=pl.Int32
    )  # fmt: skip
    decade = pl.col("title").str.extract(r"\((\d{4})\)").cast(pl.Int32) // 10
    return item_table(
        titles.sort(pl.col("item").cast(pl.Int64)).select(
            id="item", title="title", category=genre.fill_null(-1), type=decade.fill_null(-1)
        )
    )


def _features(items: pl.DataFrame, titles: pl.DataFrame) -> NDArray[np.float32]:
    genres = items.join(titles, left_on="id", right_on="item", how="left")["genres"].to_list()
    has = np.array([[genre in of for genre in U_ITEM_GENRES] for of in genres], np.float32)
    has[:, 0] = ~has.any(axis=1)  # "unknown"
    decade = np.clip(items["type"].to_numpy() - 191, 0, DECADES - 1)  # 0: unknown or before 1920
    words = items["title"].str.replace(r"\(\d{4}\)$", "").str.replace_all(r"[^\w\s]", " ")
    return np.hstack([has, np.eye(DECADES, dtype=np.float32)[decade],
                      hashed_words(words, TITLE_BUCKETS)])  # fmt: skip


def _random_pairs(
    good: pl.DataFrame, users: NDArray[np.int64], rng: np.random.Generator
) -> pl.DataFrame:
    """Draw ordered pairs of two different films that a user liked, without repeats."""
    liked = good.filter(pl.col("user").is_in(users.tolist())).group_by("user").agg("item")
    rows: list[tuple[int, int, int]] = []
    for user, films in liked.sort("user").iter_rows():
        n = len(films)
        drawn = rng.choice(n * (n - 1), min(PAIRS_A_USER, n * (n - 1)), replace=False)
        first, second = drawn // max(1, n - 1), drawn % max(1, n - 1)
        second = second + (second >= first)  # skip the film itself
        rows += [(user, films[i], films[j]) for i, j in zip(first, second, strict=True)]
    return pl.DataFrame(rows, schema=PAIR_SCHEMA, orient="row").sort(PAIR_SCHEMA.names())
