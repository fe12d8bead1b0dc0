from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from okml.lightsage.datasets import ITEM_SCHEMA, PAIR_SCHEMA, ShopData, synthetic_shop
from okml.lightsage.datasets.shop_data import split_by_time
from okml.lightsage.graph.events import DAY
from okml.lightsage.shop import ShopSettings, generate

SMALL = ShopSettings(items=500, leaves=5, users=300, sessions=2_000, rings=3)


@pytest.fixture(scope="module")
def data() -> ShopData:
    return synthetic_shop(SMALL, seed=0)


def test_it_says_that_it_is_synthetic(data: ShopData) -> None:
    assert data.synthetic
    assert "synthetic" in data.notice
    assert "synthetic" in data.feature_notes


def test_the_form_is_the_common_one(data: ShopData) -> None:
    assert data.items.schema == ITEM_SCHEMA
    assert data.items["item"].to_list() == list(range(500))
    assert data.valid.schema == data.test.schema == PAIR_SCHEMA
    assert data.features.shape == (500, SMALL.features)
    assert data.features.mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert data.features.std(axis=0) == pytest.approx(1, abs=1e-4)


def test_nothing_after_the_training_period_reaches_it(data: ShopData) -> None:
    assert data.train["ts"].max() < SMALL.train_days * DAY
    late = generate(SMALL, 0).catalog.filter(pl.col("launch_ts") > 0)["item"]
    assert not data.train["item"].is_in(late.to_list()).any()
    assert data.test["neighbor"].is_in(late.to_list()).any()  # cold targets exist


def test_pairs_are_the_page_clicks_of_their_period(data: ShopData) -> None:
    clicks = generate(SMALL, 0).events.filter(
        pl.col("source") == "pdp_rec", pl.col("action") == "click"
    )
    first, last = SMALL.train_days * DAY, SMALL.valid_days * DAY
    of_valid = clicks.filter(pl.col("ts").is_between(first, last, closed="left"))
    expected = of_valid.select("user", item="from_item", neighbor="item").unique()
    assert set(data.valid.rows()) <= set(expected.rows())
    # A session that runs over the border loses what repeats across it, and nothing else.
    assert data.valid.height >= 0.97 * expected.height


def test_later_events_do_not_change_the_training_part() -> None:
    """Leakage shows as a change of the training log when the future changes."""
    shop = generate(SMALL, 0)
    border = int(SMALL.train_days * DAY)
    future = pl.col("ts") >= border
    rng = np.random.default_rng(0)
    mixed = shop.events.with_columns(
        item=pl.when(future)
        .then(pl.Series(rng.permutation(shop.events["item"].to_numpy())))
        .otherwise("item")
    )
    one = split_by_time(shop.events, border, border + DAY)
    other = split_by_time(mixed, border, border + DAY)
    assert other.train.equals(one.train)
    assert not other.test.equals(one.test)
