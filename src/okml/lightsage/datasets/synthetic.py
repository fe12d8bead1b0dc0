"""The synthetic shop as a data set."""

from __future__ import annotations

from okml.lightsage.datasets.shop_data import ShopData
from okml.lightsage.shop import ShopSettings


def synthetic_shop(settings: ShopSettings, seed: int) -> ShopData:
    """Draw a shop and split its log by time; pairs are strong transitions, once a user."""
    raise NotImplementedError
