"""The data sets of the chapter in one form, ``ShopData``.

``synthetic_shop(settings, seed)``, ``movielens()``, ``diginetica_sessions()``,
``complete_journey()``, ``coveo()``.
"""

from okml.lightsage.datasets.complete_journey import complete_journey
from okml.lightsage.datasets.coveo import coveo
from okml.lightsage.datasets.diginetica import diginetica_sessions
from okml.lightsage.datasets.movielens import movielens
from okml.lightsage.datasets.shop_data import ITEM_SCHEMA, PAIR_SCHEMA, ShopData
from okml.lightsage.datasets.synthetic import synthetic_shop

__all__ = [
    "ITEM_SCHEMA",
    "PAIR_SCHEMA",
    "ShopData",
    "complete_journey",
    "coveo",
    "diginetica_sessions",
    "movielens",
    "synthetic_shop",
]
