"""A synthetic log of a shop with known truth, drawn from one seeded generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.lightsage.graph.events import DAY
from okml.lightsage.shop.catalog import draw_listings
from okml.lightsage.shop.settings import ShopSettings
from okml.lightsage.shop.visits import draw_rings, draw_visits, similar_items

LABEL = "synthetic"


@dataclass(frozen=True, eq=False)
class Shop:
    """A synthetic catalog and log with their truth; every use must be marked as synthetic.

    Attributes:
        events: Unordered events, ``okml.lightsage.graph.EVENT_SCHEMA``.
        catalog: Row for each listing: ``item, title, category, type, product, is_ad, launch_ts,
            popularity``; ``type`` is the observed one, wrong for some listings.
        features: Listing features, float32 ``[N, F]``.
        positions: Latent position of each listing, ``[N, 16]``.
        on_page: Listings that a click on each listing's page can lead to, the likeliest first,
            int32 ``[N, M]``, padded with -1.
    """

    events: pl.DataFrame
    catalog: pl.DataFrame
    features: NDArray[np.float32]
    positions: NDArray[np.float64]
    on_page: NDArray[np.int32]


def generate(settings: ShopSettings, seed: int) -> Shop:
    """Draw a shop, which is determined by settings and seed."""
    rng = np.random.default_rng(seed)
    listings = draw_listings(settings, rng)
    page, search = similar_items(listings, settings)
    visits = draw_visits(settings, listings, (page, search), rng)
    episodes = visits.select((pl.col("episode").max() + 1).fill_null(0)).item()
    rings = draw_rings(settings, listings, rng, settings.sessions, episodes)
    catalog = pl.DataFrame(
        {
            "item": pl.Series(np.arange(settings.items), dtype=pl.Int32),
            "category": listings.leaf,
            "type": listings.seen_kind,
            "product": listings.product,
            "is_ad": listings.is_ad,
            "launch_ts": (listings.launch_day * DAY).astype(np.int64),
            "popularity": listings.popularity,
        }
    ).with_columns(
        title=pl.format(
            "intent {} / type {} / product {}", "category", pl.Series(listings.kind), "product"
        )
    )
    return Shop(
        events=pl.concat([visits, rings]),
        catalog=catalog,
        features=listings.features,
        positions=listings.position,
        on_page=page.likeliest,
    )
