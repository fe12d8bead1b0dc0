"""MovieLens-100K: films rated four stars or more, as if each were a page someone meant to open."""

from __future__ import annotations

from okml.lightsage.datasets.shop_data import ShopData


def movielens(seed: int = 0) -> ShopData:
    """Return MovieLens-100K: some users train, others give the pairs of validation and test."""
    raise NotImplementedError
