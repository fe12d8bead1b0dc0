"""The synthetic shop as a data set."""

from __future__ import annotations

import polars as pl

from okml.lightsage.datasets.features import standardized
from okml.lightsage.datasets.shop_data import ITEM_SCHEMA, ShopData, split_by_time
from okml.lightsage.graph.events import DAY
from okml.lightsage.graph.settings import StrongSettings
from okml.lightsage.shop import LABEL, ShopSettings, generate

# In the generator, a click on a page's recommendations depends on that page; a cart event shortly
# after a page mostly does not.
PAGE_CLICKS = StrongSettings(rules=("page_click",))


def synthetic_shop(settings: ShopSettings, seed: int) -> ShopData:
    """Draw a shop and split its log by time; pairs are page clicks, each once per user."""
    shop = generate(settings, seed)
    windows = split_by_time(
        shop.events,
        int(settings.train_days * DAY),
        int(settings.valid_days * DAY),
        PAGE_CLICKS,
    )
    items = shop.catalog.with_columns(id=pl.col("item").cast(pl.String))
    return ShopData(
        name="shop",
        synthetic=True,
        train=windows.train,
        valid=windows.valid,
        test=windows.test,
        items=items.select(ITEM_SCHEMA.names()),
        features=standardized(shop.features),
        feature_notes=f"{shop.features.shape[1]} {LABEL} numbers: a noisy projection of what is "
        "true of a listing, without its hidden quality",
        protocol=f"train days 0-{settings.train_days:g}, validation to day "
        f"{settings.valid_days:g}, test to day {settings.days:g}; pairs are clicks on a "
        "page's recommendations, each once a user",
        notice=f"{LABEL} data, seed {seed}: no shop and no people are behind it",
        on_page=shop.on_page,
    )
