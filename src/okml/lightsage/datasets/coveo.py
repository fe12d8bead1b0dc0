"""Coveo's SIGIR eCom 2021 data: graded actions, queries with clicks, text and image vectors.

Three files that a form gives access to, for research and education only (``WHERE``). Their hashes
are not published, so the catalog cannot verify them; the user puts them into a data folder, the
reader checks columns, sizes and every value, and the record holds their hashes.

``browsing_train.csv``  unordered events of sessions; ``detail`` opens a page, ``add`` is the cart,
    ``remove`` is ignored, as are rows without a product
``search_train.csv``    queries with the products shown and clicked
``sku_to_content.csv``  text vector, image vector (50 numbers each), categories, price decile

There are no users across sessions and no sources of clicks: a session is the user, and strong edges
come from carts and from consecutive pages without a query in between. A query's episode has the
products clicked in its results, and the shown products whose pages were opened within ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.data.by_hand import UNVOUCHED
from okml.data.digests import digest_of
from okml.errors import DataError
from okml.ledger import DataUsed
from okml.lightsage.datasets.features import hashed_words, standardized
from okml.lightsage.datasets.shop_data import ShopData, item_table, split_by_time
from okml.lightsage.graph.events import DAY, EVENT_SCHEMA, MINUTE
from okml.paths import data_roots

NAME = "coveo"
WHERE = UNVOUCHED[NAME].url
AGAIN = f"Get it again from {WHERE}."
NOTICE = "Coveo Data Challenge 2021 data; research and education only, no redistribution."
BROWSING, SEARCH, CONTENT = "browsing_train.csv", "search_train.csv", "sku_to_content.csv"
COLUMNS = {
    BROWSING: (
        *("session_id_hash", "event_type", "product_action", "product_sku_hash"),
        *("server_timestamp_epoch_ms", "hashed_url"),
    ),
    SEARCH: (
        *("session_id_hash", "query_vector", "clicked_skus_hash", "product_skus_hash"),
        "server_timestamp_epoch_ms",
    ),
    CONTENT: (
        *("product_sku_hash", "description_vector", "category_hash", "image_vector"),
        "price_bucket",
    ),
}
# "36M events", "more than 800k search-based interactions": the authors' README, rounded down.
LEAST_ROWS = {BROWSING: 35_000_000, SEARCH: 800_000, CONTENT: 50_000}
ACTIONS = {"detail": "view", "click": "click", "add": "cart", "purchase": "purchase"}
RESULT_MINUTES = 10  # window in which a page of a shown product counts as opened from a query
WINDOW_DAYS = 7  # length of the test, and of the validation before it
VECTOR = 50
CATEGORY_BUCKETS = 32
PRICES = 10
SKU = r"[0-9a-f]{64}"
TIME = pl.col("server_timestamp_epoch_ms").cast(pl.Int64, strict=False).alias("ts")


def coveo(whole: bool = True) -> ShopData:
    """Return Coveo's shop: last 7 days for test, 7 before for validation; a session is a user.

    Args:
        whole: Whether files with fewer rows than the published ones are refused.

    Raises:
        DataError: If the files are missing; the message has the address of the form.
    """
    places = [root / NAME for root in data_roots()]
    for folder in places:
        if all((folder / file).is_file() for file in COLUMNS):
            return read_coveo(folder, LEAST_ROWS if whole else {})
    raise DataError(
        f"Coveo's data are in none of {', '.join(map(str, places))}.",
        f"They come by a form: {WHERE} (1.9 GB). Unpack {', '.join(COLUMNS)} into {places[0]}.",
    )


def read_coveo(folder: Path, least_rows: Mapping[str, int] = LEAST_ROWS) -> ShopData:
    """Read the three files of a folder.

    Args:
        folder: Folder of the three files.
        least_rows: Least number of rows of each file, below which it counts as incomplete.

    Raises:
        DataError: If a file has other columns, too few rows, or invalid values.
    """
    tables = {file: _scan(folder / file, least_rows.get(file, 1)) for file in COLUMNS}
    with _reading(folder / CONTENT):
        content = tables[CONTENT].collect(engine="streaming")
    content = content.unique("product_sku_hash", keep="first")
    with _reading(folder / BROWSING):
        actions = _actions(tables[BROWSING])
    with _reading(folder / SEARCH):
        queries = _queries(tables[SEARCH])
    events = with_searches(actions, queries)

    ids = pl.concat([content["product_sku_hash"], events["sku"]]).unique().sort()
    sessions = events["visit"].unique().sort()
    numbered = (
        events.join(_numbered(ids, "sku", "item", pl.Int32), on="sku")
        .join(_numbered(sessions, "visit", "session", pl.Int64), on="visit")
        .with_columns(user="session", source=_source(), from_item=pl.lit(-1, pl.Int32))
        .select(pl.col(name).cast(kind) for name, kind in EVENT_SCHEMA.items())
        .sort("session", "ts", "item", "action", "episode")
    )
    end = (int(numbered["ts"].max()) // DAY + 1) * DAY  # type: ignore[arg-type]
    windows = split_by_time(numbered, end - 2 * WINDOW_DAYS * DAY, end - WINDOW_DAYS * DAY)
    known = pl.DataFrame({"product_sku_hash": ids}).join(content, on="product_sku_hash", how="left")
    return ShopData(
        name=NAME,
        synthetic=False,
        train=windows.train,
        valid=windows.valid,
        test=windows.test,
        items=_items(known),
        features=standardized(_features(known)),
        feature_notes=f"text and image vectors ({VECTOR} each), price decile, categories in "
        f"{CATEGORY_BUCKETS} buckets, whether each is missing",
        protocol=f"the last {WINDOW_DAYS} days test, the {WINDOW_DAYS} before them validate; pairs "
        "are strong transitions (cart after a page, next page), each once a session",
        notice=NOTICE,
        used={
            f"{NAME}/{file}": DataUsed(
                source=f"by hand from {WHERE}", sha256=digest_of(folder / file, "sha256").value
            )
            for file in COLUMNS
        },
    )


def with_searches(actions: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
    """Assign pages to the queries they were opened from, and add clicks without a page.

    Args:
        actions: Columns ``visit, ts, sku, action``.
        queries: Columns ``visit, ts, episode, query, shown, clicked``; the last two are lists.

    Returns:
        Columns ``visit, ts, sku, action, query, episode``; -1 for pages not opened from results.
    """
    shown = (
        queries.select("visit", "episode", "query", shown_at="ts",
                       sku=pl.col("shown").list.concat("clicked").list.unique())
        .explode("sku", empty_as_null=False)
        .drop_nulls("sku")
        .sort("shown_at", "episode")
    )  # fmt: skip
    pages = pl.col("action").is_in(["view", "click"])
    opened = (
        actions.filter(pages)
        .sort("ts")
        .join_asof(
            shown,
            left_on="ts",
            right_on="shown_at",
            by=["visit", "sku"],
            strategy="backward",
            tolerance=RESULT_MINUTES * MINUTE,
            check_sortedness=False,
        )
        .drop("shown_at")
    )
    clicked = (
        queries.select("visit", "ts", "query", "episode", sku="clicked")
        .explode("sku", empty_as_null=False)
        .drop_nulls("sku")
        .unique(["episode", "sku"], maintain_order=True)
        .join(opened, on=["visit", "sku", "episode"], how="anti")
        .with_columns(action=pl.lit("click"))
    )
    columns = ["visit", "ts", "sku", "action", "query", "episode"]
    rest = actions.filter(~pages).with_columns(
        query=pl.lit(None, pl.Int64), episode=pl.lit(None, pl.Int32)
    )
    every = pl.concat([part.select(columns) for part in (opened, clicked, rest)])
    return every.with_columns(pl.col("query", "episode").fill_null(-1))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Add the file's name to errors of reading it."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read: {reason}.", AGAIN) from None


def _scan(path: Path, least: int) -> pl.LazyFrame:
    with _reading(path):
        table = pl.scan_csv(path, infer_schema=False)
        columns = table.collect_schema().names()
        rows = table.select(pl.len()).collect(engine="streaming").item()
    if set(columns) != set(COLUMNS[path.name]):
        raise DataError(
            f"{path} has the columns {', '.join(columns)[:200]} instead of "
            f"{', '.join(COLUMNS[path.name])}.",
            AGAIN,
        )
    if rows < least:
        raise DataError(
            f"{path} has {rows:,} rows, and at least {least:,} are known to be in it.",
            AGAIN,
        )
    return table


def _require_whole(frame: pl.DataFrame, file: str) -> pl.DataFrame:
    frame = frame.with_columns(pl.when(pl.col("ts") >= 0).then(pl.col("ts")))
    for column in frame.columns:
        if missing := frame[column].null_count():
            raise DataError(
                f"{file} has {missing:,} rows whose {column} is missing or cannot be read.",
                AGAIN,
            )
    return frame


def _actions(browsing: pl.LazyFrame) -> pl.DataFrame:
    frame = (
        browsing.filter(pl.col("product_action").is_in(list(ACTIONS)))
        .select(
            TIME,
            visit="session_id_hash",
            sku="product_sku_hash",
            action=pl.col("product_action").replace_strict(ACTIONS),
        )
        .filter(pl.col("sku").is_not_null())
        .collect(engine="streaming")
    )
    return _require_whole(frame, BROWSING)


def _queries(search: pl.LazyFrame) -> pl.DataFrame:
    frame = (
        search.select(
            TIME,
            visit="session_id_hash",
            # Equal vectors are one query; their words are not published.
            query=pl.col("query_vector").fill_null("").rank("dense").cast(pl.Int64) - 1,
            shown=pl.col("product_skus_hash").fill_null("").str.extract_all(SKU),
            clicked=pl.col("clicked_skus_hash").fill_null("").str.extract_all(SKU),
        )
        .collect()
        .sort("visit", "ts", "query", maintain_order=True)
        .with_columns(episode=pl.int_range(pl.len(), dtype=pl.Int32))
    )
    return _require_whole(frame, SEARCH)


def _source() -> pl.Expr:
    return pl.when(pl.col("episode") >= 0).then(pl.lit("search")).otherwise(pl.lit("other"))


def _numbered(
    values: pl.Series, name: str, number: str, kind: type[pl.Int32 | pl.Int64]
) -> pl.DataFrame:
    return pl.DataFrame({name: values, number: pl.int_range(len(values), dtype=kind, eager=True)})


def _items(known: pl.DataFrame) -> pl.DataFrame:
    """Return ``ITEM_SCHEMA``; the category is the first level of the path, the type all of it."""
    path = pl.col("category_hash")

    def code(value: pl.Expr) -> pl.Expr:
        return (value.rank("dense").cast(pl.Int32) - 1).fill_null(-1)

    category = code(path.str.split("/").list.first())
    return item_table(known.select(id="product_sku_hash", category=category, type=code(path)))


def _features(known: pl.DataFrame) -> NDArray[np.float32]:
    text, image = _vectors(known["description_vector"]), _vectors(known["image_vector"])
    written = known["price_bucket"]
    price = written.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    if (written.is_not_null().to_numpy() & ~((price >= 0) & (price <= PRICES))).any():
        raise DataError(f"{CONTENT} has prices outside of deciles 1 to {PRICES}.")
    price = np.nan_to_num(price)
    path = known["category_hash"].fill_null("").str.replace_all("/", " ")
    missing = [known[column].is_null() for column in ("description_vector", "image_vector")]
    return np.hstack(
        [
            text,
            image,
            np.eye(PRICES + 1, dtype=np.float32)[price.astype(int)],  # 0: unknown
            hashed_words(path, CATEGORY_BUCKETS),
            np.column_stack(missing).astype(np.float32),
        ]
    )


def _vectors(column: pl.Series) -> NDArray[np.float32]:
    """Return the vectors, ``[N, 50]``, with zeros for missing ones.

    Raises:
        DataError: If a vector has another length or no numbers.
    """
    zeros = "[" + ",".join(["0"] * VECTOR) + "]"
    wrong = DataError(
        f"{CONTENT} has a {column.name} that is no list of {VECTOR} numbers.",
        AGAIN,
    )
    try:
        lists = column.fill_null(zeros).str.json_decode(pl.List(pl.Float32))
        vectors: NDArray[np.float32] = lists.list.to_array(VECTOR).to_numpy()
    except pl.exceptions.PolarsError:
        raise wrong from None
    if not np.isfinite(vectors).all():
        raise wrong
    return vectors
