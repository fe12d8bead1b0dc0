"""The settings of the synthetic shop."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from okml.settings import (
    BelowOne,
    Count,
    NonNegative,
    Positive,
    Power,
    Probability,
    Settings,
    Share,
    Whole,
    Width,
    rule,
)


class ShopSettings(Settings):
    """A shop, its customers and a month of their visits. No number here is a measurement.

    The defaults are the shop of the profile ``cpu``.
    """

    # The catalog: intents ("leaves"), types within one, products of a type, listings of a product.
    items: Annotated[Count, Field(ge=8)] = 8_000  # listings, N
    leaves: Count = 40
    types: Count = 8  # types within a leaf
    listings_per_product: Count = 4  # clones, which pooling of tail items can use
    leaf_spread: NonNegative = 1.0  # a smaller one makes raw features less informative
    type_spread: NonNegative = 0.6
    product_spread: NonNegative = 0.35
    listing_spread: NonNegative = 0.05
    quality_spread: NonNegative = 0.8  # hidden from the features, visible in the graph
    ad_share: Share = 0.3  # share of listings that are ads, more often unpopular ones
    late_share: BelowOne = 0.05  # share of listings that start on launch_day
    launch_day: NonNegative = 24
    popularity_offset: Positive = 40  # popularity of rank r ~ (offset + r)^-power
    popularity_power: Power = 1.1
    # The features: 32 numbers for each listing.
    features: Width = 32
    head_noise: NonNegative = 1.0  # noise of the most popular fifth
    tail_noise: NonNegative = 2.5  # noise of the others, which averaging reduces
    wrong_type_share: Probability = 0.1
    # The customers.
    users: Count = 8_000
    taste_concentration: Positive = 0.15  # Dirichlet over leaves
    sessions: Whole = 40_000
    days: Positive = 30
    mean_extra_steps: NonNegative = 5  # a visit has 1 + Poisson of it
    p_search: Probability = 0.14  # chance that a step issues a query, the source of search edges
    p_page: Probability = 0.06  # chance that a step clicks on a page, the source of strong edges
    mean_extra_clicks: NonNegative = 1  # clicks after a query, beyond the first
    p_cart: Probability = 0.15  # chance that a click in search or on a page leads to the cart
    p_purchase: Probability = 0.3  # chance that what is in the cart is bought
    view_share: Probability = 0.0  # share of feed clicks that follow the item in view
    global_share: Probability = 0.4  # share of the others that follow popularity alone
    candidates: Annotated[Count, Field(ge=2)] = 64  # results that a page or a search can show
    candidate_temperature: Positive = 0.10
    # Rings of accounts that fake demand, which Swing discounts and cosine does not.
    rings: Whole = 40
    ring_accounts: Count = 5
    ring_items: Count = 40
    ring_share: Probability = 0.8  # share of a ring's items that each account clicks
    # The split, in days: training before the first, validation before the second, then the test.
    train_days: Positive = 21
    valid_days: Positive = 24

    _split = rule(
        lambda shop: shop.train_days < shop.valid_days < shop.days,
        "train_days {train_days}, valid_days {valid_days} and days {days} must ascend",
    )
    _launch = rule(
        lambda shop: shop.launch_day <= shop.days, "launch_day {launch_day} is after {days} days"
    )
