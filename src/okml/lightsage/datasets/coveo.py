"""Coveo's SIGIR eCom 2021 data: graded actions, queries with clicks, text and image vectors."""

from __future__ import annotations

from okml.lightsage.datasets.shop_data import ShopData


def coveo() -> ShopData:
    """Return Coveo's shop: the last 7 days test, the 7 before them validate; a session is the user.

    Raises:
        DataError: If the files are not here; they come by a form, and the message says where.
    """
    raise NotImplementedError
