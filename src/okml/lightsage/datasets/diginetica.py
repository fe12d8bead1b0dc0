"""The DIGINETICA click sessions that ADER cut into weeks: real, without queries or attributes."""

from __future__ import annotations

from okml.lightsage.datasets.shop_data import ShopData


def diginetica_sessions(train_weeks: int | None = None, features: int = 64) -> ShopData:
    """Return the sessions: the last week tests, the one before it validates, the rest trains.

    Args:
        train_weeks: Only so many periods before the validation; None: all fifteen.
        features: Size of the item vectors, an SVD of the training sessions.
    """
    raise NotImplementedError
