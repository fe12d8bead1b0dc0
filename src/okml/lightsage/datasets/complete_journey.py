"""The Complete Journey: a year of grocery purchases, with product attributes and promotions.

A purchase is the only action, and a basket is a session. The lines of a basket share one time, so
that nothing tells their order: a pair of products is one that were bought together, in both
directions. Nobody clicks and nobody searches, so that edges of searches and of consecutive pages do
not exist. Ads are the products that the shop promoted in the last weeks of the training period, in
its mailer or on display.

Whether the purchases are real is not clear: the package for R that publishes them calls a line what
a receipt shows, and the package for Python, whose files are read here, calls its data simulated.
All 75,000 lines of the R package's sample are in these files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.data import entry, fetched_from
from okml.data.cache import repair_command
from okml.errors import DataError
from okml.lightsage.datasets.features import hashed_words, standardized
from okml.lightsage.datasets.shop_data import ShopData, item_table, split_by_time
from okml.lightsage.graph.events import DAY, EVENT_SCHEMA
from okml.lightsage.graph.settings import StrongSettings
from okml.steps import files_used

LOG = "complete_journey"
NO_PRODUCTS = ("COUPON", "FUEL", "MISCELLANEOUS")  # departments
WINDOW_DAYS = 28  # length of the test, and of the validation before it
PROMOTED_WEEKS = 4  # promotions are read in as many weeks before the validation
WORD_BUCKETS = 96
PRICES = 10  # deciles
BASKETS = StrongSettings(rules=("same_order",))
COLUMNS = {
    "transactions.parquet": (
        *("household_id", "basket_id", "product_id", "quantity", "sales_value", "week"),
        "transaction_timestamp",
    ),
    "products.parquet": (
        *("product_id", "manufacturer_id", "department", "brand", "product_category"),
        *("product_type", "package_size"),
    ),
    "promotions.parquet": ("product_id", "week"),
}


def complete_journey() -> ShopData:
    """Return the purchases: the last four weeks test, the four before them validate.

    Items are the products that were bought in the year. Those first bought after the training
    period are cold.

    Raises:
        DataError: If the files are not available, or lack a column.
    """
    files = fetched_from(LOG)
    lines, products, promotions = (_scan(files[name].path, COLUMNS[name]) for name in COLUMNS)
    known = products.filter(
        pl.col("product_type").is_not_null(), ~pl.col("department").is_in(NO_PRODUCTS)
    ).with_columns(pl.col("product_category").fill_null("unknown"))
    bought = (
        lines.filter(pl.col("quantity") > 0)
        .join(known.select("product_id"), on="product_id", how="semi")
        .with_columns(ts=pl.col("transaction_timestamp").dt.epoch("ms"))
        .sort("household_id", "ts", "basket_id", "product_id")
        .collect()
    )
    ids = bought.select(pl.col("product_id").unique().sort())
    end = (int(bought["ts"].max()) // DAY + 1) * DAY  # type: ignore[arg-type]
    test_from, valid_from = end - WINDOW_DAYS * DAY, end - 2 * WINDOW_DAYS * DAY
    train = bought.filter(pl.col("ts") < valid_from)
    last = int(train["week"].max())  # type: ignore[arg-type]
    shown = promotions.filter(pl.col("week").is_between(last - PROMOTED_WEEKS + 1, last))
    promoted = shown.select("product_id").unique().collect(engine="streaming")["product_id"]
    items = ids.join(known.collect(), on="product_id", how="left", maintain_order="left")
    windows = split_by_time(_events(bought), valid_from, test_from, BASKETS)
    return ShopData(
        name=LOG,
        synthetic=False,
        train=windows.train,
        valid=windows.valid,
        test=windows.test,
        items=_items(items, promoted),
        features=standardized(_features(items, train)),
        feature_notes=f"department, own brand or not, words of category and type and the "
        f"manufacturer in {WORD_BUCKETS} signed buckets, decile of the price in training, the "
        "average of a product that nobody bought there",
        protocol=f"the last {WINDOW_DAYS} days test, the {WINDOW_DAYS} before them validate; pairs "
        f"are two products of one basket of at most {BASKETS.order_items}, each once a household",
        notice=entry(LOG).license.notice,
        used=files_used(LOG),
    )


def _scan(path: Path, columns: tuple[str, ...]) -> pl.LazyFrame:
    table = pl.scan_parquet(path)
    if missing := set(columns) - set(table.collect_schema().names()):
        raise DataError(
            f"{path} has no column {', '.join(sorted(missing))}.",
            repair_command(LOG),
        )
    return table.select(columns)


def _events(bought: pl.DataFrame) -> pl.DataFrame:
    """Return ``EVENT_SCHEMA`` of purchases; numbers follow the order of the shop's own."""

    def number(column: str) -> pl.Expr:
        return pl.col(column).rank("dense") - 1

    events = bought.select(
        "ts",
        user=number("household_id"),
        session=number("basket_id"),
        item=number("product_id"),
        action=pl.lit("purchase"),
        source=pl.lit("other"),
        from_item=-1,
        query=-1,
        episode=-1,
    )
    return events.select(pl.col(name).cast(kind) for name, kind in EVENT_SCHEMA.items())


def _items(products: pl.DataFrame, promoted: pl.Series) -> pl.DataFrame:
    """Return ``ITEM_SCHEMA``: 303 categories, and 2,378 types within them."""

    def number(column: str) -> pl.Expr:
        return pl.col(column).rank("dense").cast(pl.Int32) - 1

    return item_table(
        products.select(
            id=pl.col("product_id").cast(pl.String),
            title=pl.concat_str("product_type", "package_size", separator=", ", ignore_nulls=True),
            category=number("product_category"),
            type=number("product_type"),
            is_ad=pl.col("product_id").is_in(promoted.implode()),
        )
    )


def _features(products: pl.DataFrame, train: pl.DataFrame) -> NDArray[np.float32]:
    """Return the features of items, ``[N, F]``, not standardized.

    A product that nobody bought in training has the average of the prices. A column of its own
    would tell the networks which products the test alone has.
    """
    price = train.group_by("product_id").agg(
        (pl.col("sales_value") / pl.col("quantity")).median().alias("price")
    )
    priced = products.join(price, on="product_id", how="left", maintain_order="left")
    below = (pl.col("price").rank("ordinal") - 1) * PRICES // pl.col("price").count()
    decile = priced.select(below).to_series()  # null: not sold in training
    prices = np.full((len(decile), PRICES), 1 / PRICES, np.float32)
    sold = decile.is_not_null().to_numpy()
    prices[sold] = np.eye(PRICES, dtype=np.float32)[decile.drop_nulls().to_numpy().astype(int)]
    words = pl.format("{} {} maker{}", "product_category", "product_type", "manufacturer_id")
    spelled = words.str.replace_all(r"[^\w]+", " ")
    return np.hstack(
        [
            products["department"].to_dummies().to_numpy().astype(np.float32),
            (products["brand"] == "Private").to_numpy().astype(np.float32)[:, None],
            hashed_words(products.select(spelled).to_series(), WORD_BUCKETS),
            prices,
        ]
    )
