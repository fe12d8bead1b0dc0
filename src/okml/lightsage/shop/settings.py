"""The settings of the synthetic shop, each with the idea of the paper that it carries."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ShopSettings(BaseModel):
    """A shop, its customers and a month of their visits. Nothing here is a measurement.

    The defaults are the shop of the profile ``cpu``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The catalog: intents ("leaves"), types within one, products of a type, listings of a product.
    items: int = Field(default=8_000, ge=8)  # listings, N
    leaves: int = Field(default=40, ge=1)
    types: int = Field(default=8, ge=1)  # of a leaf
    listings_per_product: int = Field(default=4, ge=1)  # clones: what pooling tail items can use
    leaf_spread: float = 1.0  # standard deviation of leaves; less makes raw features harder to use
    type_spread: float = 0.6
    product_spread: float = 0.35
    listing_spread: float = 0.05
    quality_spread: float = 0.8  # hidden from the features: what a graph knows and they do not
    ad_share: float = Field(default=0.3, gt=0, le=1)  # of listings; leans to unpopular ones
    late_share: float = Field(default=0.05, ge=0, lt=1)  # of listings that start on launch_day
    launch_day: float = 24
    popularity_offset: float = 40  # popularity of rank r ~ (offset + r)^-power
    popularity_power: float = 1.1
    # The features: 32 numbers a listing.
    features: int = Field(default=32, ge=1)
    head_noise: float = 1.0  # of the most popular fifth
    tail_noise: float = 2.5  # poor listings in the tail: what averaging repairs
    wrong_type_share: float = Field(default=0.1, ge=0, le=1)
    # The customers.
    users: int = Field(default=8_000, ge=1)
    taste_concentration: float = Field(default=0.15, gt=0)  # Dirichlet over leaves
    sessions: int = Field(default=40_000, ge=0)
    days: float = Field(default=30, gt=0)
    mean_extra_steps: float = Field(default=5, ge=0)  # a visit has 1 + Poisson of it
    p_search: float = Field(default=0.14, ge=0, le=1)  # a step issues a query: search edges
    p_page: float = Field(default=0.06, ge=0, le=1)  # a step clicks on a page: strong edges
    mean_extra_clicks: float = Field(default=1, ge=0)  # of a query, beyond the first
    p_cart: float = Field(default=0.15, ge=0, le=1)  # after a click in search or on a page
    p_purchase: float = Field(default=0.3, ge=0, le=1)  # of what is in the cart
    global_share: float = Field(default=0.4, ge=0, le=1)  # of feed clicks, by popularity alone
    candidates: int = Field(default=64, ge=2)  # results that a page or a search can show
    candidate_temperature: float = Field(default=0.10, gt=0)
    # Rings of accounts that fake demand: what Swing discounts and cosine rewards.
    rings: int = Field(default=40, ge=0)
    ring_accounts: int = Field(default=5, ge=1)
    ring_items: int = Field(default=40, ge=1)
    ring_share: float = Field(default=0.8, ge=0, le=1)  # of a ring's items each account clicks
    # The split, in days: training before the first, validation before the second, then the test.
    train_days: float = 21
    valid_days: float = 24
