"""The reader of baskets, on small tables in the form of the true ones."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from okml.data import fetched_from
from okml.errors import DataError
from okml.lightsage.datasets import complete_journey
from okml.lightsage.datasets.complete_journey import LOG, PRICES
from tests.lightsage.datasets.test_real import check_form
from tests.tools.own_data import OwnData

START = datetime(2017, 1, 1, 10)
DAYS, NEW = 100, 80  # of the year; the day on which a product appears
AISLES = 8  # of four products, the last of which is rare
LATE, FUEL, GIFT, UNKNOWN = 4 * AISLES, 900, 901, 902


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def tables() -> dict[str, pl.DataFrame]:
    """Return four households' baskets of three products of one aisle, one basket a day each."""
    lines = []
    for day in range(DAYS):
        for household in range(4):
            first = 4 * ((day + 2 * household) % AISLES)
            products = [first, first + 1, first + (3 if day % 20 in (7, 8) else 2)]
            products += [FUEL, GIFT, UNKNOWN] + [LATE] * (day >= NEW)
            at = START + timedelta(days=day, minutes=household)
            lines += [(household, 10 * day + household, product, 2, 3.0 + product % 5,
                       1 + day // 7, at) for product in products]  # fmt: skip
    lines.append((0, 0, 3, -1, -1.0, 1, START))  # something brought back
    names = ("household_id", "basket_id", "product_id", "quantity", "sales_value", "week",
             "transaction_timestamp")  # fmt: skip
    products = [
        (p, 60 + p % 2, "GROCERY", ("National", "Private")[p % 2], f"AISLE {p // 4}",
         f"KIND {p // 2}", "1 LB" if p % 3 else None)
        for p in range(LATE)
    ]  # fmt: skip
    products += [
        (LATE, 60, "GROCERY", "National", "AISLE 5", "KIND 11", None),  # as the rare one there
        (FUEL, 1, "FUEL", "National", "COUPON", "GASOLINE", None),
        (GIFT, 1, "MISCELLANEOUS", "National", "CARDS", "GIFT CARD", None),
        (UNKNOWN, 1, "GROCERY", "National", None, None, None),
    ]
    columns = ("product_id", "manufacturer_id", "department", "brand", "product_category",
               "product_type", "package_size")  # fmt: skip
    shown = [(0, 1), (30, 14), (FUEL, 5), *((p, 5) for p in range(1, 25))]
    return {
        "transactions.parquet": pl.DataFrame(lines, names, orient="row"),
        "products.parquet": pl.DataFrame(products, columns, orient="row"),
        "promotions.parquet": pl.DataFrame(shown, ["product_id", "week"], orient="row"),
    }


def put(folder: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, pl.DataFrame]) -> None:
    contents = {name: parquet(frame) for name, frame in files.items()}
    OwnData(folder, monkeypatch).files(LOG, contents)


def test_baskets_are_split_by_time_and_their_products_paired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, monkeypatch, tables())
    data = complete_journey()
    check_form(data)
    assert data.items["id"].to_list() == [str(p) for p in range(LATE + 1)]
    assert set(data.train["action"]) == {"purchase"}
    assert data.train["session"].n_unique() == 4 * (DAYS - 56)
    assert data.train.height == 3 * 4 * (DAYS - 56)  # neither what is brought back nor fuel
    bought = tables()["transactions.parquet"]
    late = bought.filter(pl.col("transaction_timestamp") >= START + timedelta(days=DAYS - 28))
    baskets = late.filter(pl.col("product_id") <= LATE).group_by("basket_id", "household_id").agg(
        pl.col("product_id").unique()
    )  # fmt: skip
    pairs = {
        (household, i, j)
        for household, items in baskets.select("household_id", "product_id").rows()
        for i in items for j in items if i != j
    }  # fmt: skip
    assert set(data.test.rows()) == pairs
    assert LATE not in set(data.train["item"])
    assert LATE in set(data.test["neighbor"])
    assert set(data.used) == {f"{LOG}/{name}" for name in tables()}


def test_products_have_their_hierarchy_promotion_and_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, monkeypatch, tables())
    items, features = complete_journey().items, complete_journey().features
    assert items["category"].to_list() == [*(p // 4 for p in range(LATE)), 5]
    assert items["type"].n_unique() == 16
    assert items["title"].to_list()[:2] == ["KIND 0", "KIND 0, 1 LB"]
    # The training ends in week 7: week 1 is too early, and week 14 too late to be known.
    assert items.filter("is_ad")["item"].to_list() == [*range(1, 25)]
    assert len(features) == LATE + 1
    # The price of what nobody bought in training is the average, which no column gives away.
    prices = features[:, -PRICES:]
    assert np.abs(prices[LATE]).max() < 0.25
    sold = np.delete(prices, LATE, axis=0)
    assert ((sold > 0).sum(1) == 1).all()
    assert np.abs(sold).max() > 1


def test_a_table_without_its_columns_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tables()
    files["products.parquet"] = files["products.parquet"].drop("brand")
    put(tmp_path, monkeypatch, files)
    with pytest.raises(DataError, match=r"no column brand[\s\S]*data fetch complete_journey"):
        complete_journey()


@pytest.mark.slow
@pytest.mark.realdata
def test_the_complete_journey_as_packaged() -> None:
    try:
        fetched_from(LOG)
    except DataError as error:
        pytest.skip(str(error))
    data = complete_journey()
    check_form(data)
    assert data.item_count == 67_788
    assert data.train.height == 1_221_711
    assert data.features.shape == (67_788, 134)
    assert data.items["type"].n_unique() > 2_000
