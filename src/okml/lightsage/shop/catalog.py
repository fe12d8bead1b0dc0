"""The listings of the synthetic shop: latent positions, features and popularity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from okml.lightsage.shop.settings import ShopSettings

VISIBLE, HIDDEN = 12, 4  # dimensions of a position that features reveal and hide
LEAF_CONCENTRATION = 8  # Dirichlet parameter of the leaves' shares of products
HEAD_SHARE = 0.2  # share of listings whose features are less noisy
AD_POWER = -0.3  # exponent of popularity in the probability of an ad


@dataclass(frozen=True, eq=False)
class Listings:
    """The attributes of each listing, ``[N]`` or ``[N, ...]``.

    Attributes:
        product: Number of the product; listings of one product are near-duplicates.
        leaf: Number of the intent.
        kind: True type within the leaf.
        seen_kind: Observed type, wrong for some listings.
        position: Latent position, ``[N, 16]``; clicks follow distances in this space.
        popularity: Popularity share, which sums to 1.
        features: Noisy features without the hidden dimensions, float32 ``[N, F]``.
        is_ad: Whether it may be served as an ad.
        launch_day: Day of the launch; 0 for listings that exist from the start.
    """

    product: NDArray[np.int32]
    leaf: NDArray[np.int32]
    kind: NDArray[np.int32]
    seen_kind: NDArray[np.int32]
    position: NDArray[np.float64]
    popularity: NDArray[np.float64]
    features: NDArray[np.float32]
    is_ad: NDArray[np.bool_]
    launch_day: NDArray[np.float64]


def draw_listings(settings: ShopSettings, rng: np.random.Generator) -> Listings:
    """Draw leaves, their types, products of types, and listings of products."""
    n = settings.items
    products = max(1, n // settings.listings_per_product)
    leaves = rng.normal(size=(settings.leaves, VISIBLE)) * settings.leaf_spread
    kinds = rng.normal(size=(settings.leaves, settings.types, VISIBLE)) * settings.type_spread

    shares = rng.dirichlet(np.full(settings.leaves, LEAF_CONCENTRATION))
    leaf_of = rng.choice(settings.leaves, products, p=shares)
    kind_of = rng.integers(settings.types, size=products)
    visible = leaves[leaf_of] + kinds[leaf_of, kind_of]
    visible = visible + rng.normal(size=(products, VISIBLE)) * settings.product_spread
    hidden = rng.normal(size=(products, HIDDEN)) * settings.quality_spread
    at = np.hstack([visible, hidden])  # [products, 16]

    product = np.concatenate([np.arange(products), rng.integers(products, size=n - products)])
    position = at[product] + rng.normal(size=(n, VISIBLE + HIDDEN)) * settings.listing_spread
    rank = rng.permutation(n)
    popularity = _normalized((settings.popularity_offset + rank) ** -settings.popularity_power)

    projection = rng.normal(size=(VISIBLE, settings.features)) / np.sqrt(VISIBLE)
    sigma = np.where(rank < HEAD_SHARE * n, settings.head_noise, settings.tail_noise)
    noise = 0.5 * sigma[:, None] * rng.normal(size=(n, settings.features))
    kind = kind_of[product]
    wrong = rng.random(n) < settings.wrong_type_share
    guess = rng.integers(settings.types, size=n)
    ads = rng.choice(
        n, max(1, round(settings.ad_share * n)), replace=False, p=_normalized(popularity**AD_POWER)
    )
    late = rng.choice(n, round(settings.late_share * n), replace=False)
    return Listings(
        product=product.astype(np.int32),
        leaf=leaf_of[product].astype(np.int32),
        kind=kind.astype(np.int32),
        seen_kind=np.where(wrong, guess, kind).astype(np.int32),
        position=position,
        popularity=popularity,
        features=(position[:, :VISIBLE] @ projection + noise).astype(np.float32),
        is_ad=np.isin(np.arange(n), ads),
        launch_day=np.where(np.isin(np.arange(n), late), settings.launch_day, 0.0),
    )


def _normalized(weights: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(weights / weights.sum(), dtype=np.float64)
