"""The visits of customers in the synthetic shop, simulated in parallel step by step.

Customers choose items near another one, or by popularity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.lightsage.graph.events import DAY, EVENT_SCHEMA
from okml.lightsage.shop.catalog import Listings
from okml.lightsage.shop.settings import ShopSettings

SECOND = 1000  # ms
PAUSE, MEAN_EXTRA_PAUSE = 5 * SECOND, 45 * SECOND  # between two steps
CART_DELAY, PURCHASE_DELAY = 2 * SECOND, 4 * SECOND  # time since the click; any pause is longer
POPULARITY_PULL = 0.5  # coefficient of log-popularity in the logit of a shown item
BLOCK_ENTRIES = 2**22  # distances that exist at once
NOTHING = -1
TARGET_POWER = 0.6  # exponent of popularity in the probability of a visit's target


def draw_visits(
    settings: ShopSettings,
    listings: Listings,
    shown: tuple[Similar, Similar],
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Draw the visits of all customers, ``EVENT_SCHEMA``.

    A visit has a target item. In each step, a customer with open search results clicks near the
    target; otherwise the customer searches, clicks on a recommendation of the current page, or
    clicks in the feed, which shows popular items, items to the customer's taste, and perhaps items
    near the one in view. Clicks on items before their launch are dropped.

    Args:
        settings: Numbers of customers, visits and steps.
        listings: The catalog.
        shown: What pages and searches show, of :func:`similar_items`.
        rng: Random generator of the visits.
    """
    visits = settings.sessions
    page, search = shown
    popular = ByPopularity(listings.popularity, listings.leaf, settings.leaves)
    targets = ByPopularity(listings.popularity**TARGET_POWER, listings.leaf, settings.leaves)
    taste = np.cumsum(
        rng.dirichlet(np.full(settings.leaves, settings.taste_concentration), settings.users),
        axis=1,
    ).astype(np.float32)  # [users, leaves]
    launch = (listings.launch_day * DAY).astype(np.int64)

    def liked_leaf(users: NDArray[np.int64]) -> NDArray[np.int64]:
        chance = rng.random(len(users), dtype=np.float32)[:, None]
        passed: NDArray[np.int64] = (taste[users] <= chance).sum(axis=1)
        return np.minimum(passed, settings.leaves - 1)

    user = rng.integers(settings.users, size=visits)
    time = rng.uniform(0, settings.days * DAY, visits).astype(np.int64)
    target = targets.of_leaf(liked_leaf(user), rng)
    # A visit with an intent without listings has a popular item as its target.
    lost = target == NOTHING
    target[lost] = targets.of_all(int(lost.sum()), rng)
    steps = 1 + rng.poisson(settings.mean_extra_steps, visits)
    current = np.full(visits, NOTHING, np.int64)
    results_left = np.zeros(visits, np.int64)  # remaining clicks in the open episode
    episode = np.full(visits, -1, np.int64)
    episodes = 0

    events = []
    for step in range(int(steps.max(initial=0))):
        on = np.flatnonzero(steps > step)
        if step:
            pause = PAUSE + rng.exponential(MEAN_EXTRA_PAUSE, len(on)).astype(np.int64)
            time[on] += pause
        chance = rng.random(len(on))
        searching = results_left[on] > 0
        starts = ~searching & (chance < settings.p_search)
        opened = on[starts]
        results_left[opened] = 1 + rng.poisson(settings.mean_extra_clicks, len(opened))
        episode[opened] = episodes + np.arange(len(opened))
        episodes += len(opened)
        in_search = searching | starts
        on_page = (
            ~in_search & (chance < settings.p_search + settings.p_page) & (current[on] != NOTHING)
        )
        in_feed = ~in_search & ~on_page
        at_large = rng.random(len(on)) < settings.global_share
        in_view = np.zeros(len(on), bool)
        if settings.view_share:
            sees = in_feed & (current[on] != NOTHING)
            in_view = sees & (rng.random(len(on)) < settings.view_share)

        clicked = np.full(len(on), NOTHING, np.int64)
        clicked[in_search] = search.draw(target[on[in_search]], rng)
        results_left[on[in_search]] -= 1
        clicked[on_page] = page.draw(current[on[on_page]], rng)
        clicked[in_view] = page.draw(current[on[in_view]], rng)
        everyone, personal = in_feed & ~in_view & at_large, in_feed & ~in_view & ~at_large
        clicked[everyone] = popular.of_all(int(everyone.sum()), rng)
        clicked[personal] = popular.of_leaf(liked_leaf(user[on[personal]]), rng)
        happened = (clicked != NOTHING) & (launch[clicked] <= time[on])

        who, what = on[happened], clicked[happened]
        looked_up = in_search[happened]
        meant = target[who]
        query = listings.leaf[meant].astype(np.int64) * settings.types + listings.kind[meant]
        events.append(
            pl.DataFrame(
                {
                    "user": user[who],
                    "session": who,
                    "ts": time[who],
                    "item": what,
                    "source": np.select(
                        [looked_up, on_page[happened]], ["search", "pdp_rec"], "feed"
                    ),
                    "from_item": np.where(on_page[happened], current[who], -1),
                    "query": np.where(looked_up, query, -1),
                    "episode": np.where(looked_up, episode[who], -1),
                }
            )
        )
        current[who] = what
    if not events:
        return EVENT_SCHEMA.to_frame()
    clicks = pl.concat(events).with_columns(action=pl.lit("click"))
    meant_ones = clicks.filter(pl.col("source") != "feed")
    carts = meant_ones.filter(rng.random(meant_ones.height) < settings.p_cart)
    bought = carts.filter(rng.random(carts.height) < settings.p_purchase)
    later = [
        frame.with_columns(pl.col("ts") + delay, action=pl.lit(action))
        for frame, delay, action in (
            (carts, CART_DELAY, "cart"),
            (bought, PURCHASE_DELAY, "purchase"),
        )
    ]
    every = pl.concat([clicks, *later])
    return every.select(pl.col(name).cast(kind) for name, kind in EVENT_SCHEMA.items())


def draw_rings(
    settings: ShopSettings,
    listings: Listings,
    rng: np.random.Generator,
    first_session: int,
    first_episode: int,
) -> pl.DataFrame:
    """Draw the events of accounts that fake demand, ``EVENT_SCHEMA``, numbered after customers.

    Each ring has random items, and each account clicks most of them, with one search and one visit
    for each click.
    """
    wanted = min(settings.ring_items, settings.items)
    items = np.array(
        [rng.choice(settings.items, wanted, replace=False) for _ in range(settings.rings)]
    ).reshape(settings.rings, wanted)
    clicks = rng.random((settings.rings, settings.ring_accounts, wanted)) < settings.ring_share
    ring, account, place = np.nonzero(clicks)
    item = items[ring, place] if len(ring) else np.empty(0, np.int64)
    count = len(item)
    time = rng.uniform(0, settings.days * DAY, count).astype(np.int64)
    events = pl.DataFrame(
        {
            "user": settings.users + ring * settings.ring_accounts + account,
            "session": first_session + np.arange(count),
            "ts": time,
            "item": item,
            "action": np.full(count, "click", dtype=object),
            "source": np.full(count, "search", dtype=object),
            "from_item": np.full(count, -1),
            "query": listings.leaf[item].astype(np.int64) * settings.types + listings.kind[item],
            "episode": first_episode + np.arange(count),
        },
        schema=EVENT_SCHEMA,
    )
    launched = listings.launch_day[item] * DAY <= time
    return events.filter(launched)


@dataclass(frozen=True, eq=False)
class Similar:
    """The most probable items near each item, with their probabilities.

    Attributes:
        items: Items near each item in descending order of probability, int32 ``[N, M]``.
        cumulative: Cumulative probability, float32 ``[N, M]``; all 0 for an item without
            candidates.
    """

    items: NDArray[np.int32]
    cumulative: NDArray[np.float32]

    @property
    def likeliest(self) -> NDArray[np.int32]:
        """Items near each item, the likeliest first, ``[N, M]``, padded with ``NOTHING``."""
        chances = np.diff(self.cumulative, prepend=np.float32(0))
        return np.where(chances > 0, self.items, np.int32(NOTHING))

    def draw(self, near: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw an item near each item of ``near``, ``[v]``; ``NOTHING`` without a candidate."""
        chance = rng.random(len(near), dtype=np.float32)
        rows = self.cumulative[near]
        place = np.minimum((rows <= chance[:, None]).sum(axis=1), rows.shape[1] - 1)
        drawn = self.items[near, place].astype(np.int64)
        return np.where(rows[:, -1] > 0, drawn, NOTHING)


def similar_items(listings: Listings, settings: ShopSettings) -> tuple[Similar, Similar]:
    """Return the items shown on an item's page, and in a search for its kind, which includes it.

    The logit of j near i is minus the mean squared distance over the temperature, plus half the
    logarithm of j's popularity; only the M best items of the leaf are shown.
    """
    n, most = settings.items, settings.candidates
    page = Similar(np.zeros((n, most), np.int32), np.zeros((n, most), np.float32))
    search = Similar(np.zeros((n, most), np.int32), np.zeros((n, most), np.float32))
    pull = POPULARITY_PULL * np.log(listings.popularity)
    by_leaf = np.argsort(listings.leaf, kind="stable")
    for members in np.split(by_leaf, np.flatnonzero(np.diff(listings.leaf[by_leaf])) + 1):
        at = listings.position[members]
        norms = (at**2).sum(axis=1)
        block = max(1, BLOCK_ENTRIES // len(members))
        for start in range(0, len(members), block):
            rows = slice(start, start + block)
            squared = norms[rows, None] + norms[None, :] - 2 * at[rows] @ at.T
            logits = pull[members] - squared / at.shape[1] / settings.candidate_temperature
            own = np.arange(len(logits))
            for table, with_itself in ((search, True), (page, False)):
                if not with_itself:
                    logits[own, own + start] = -np.inf
                _fill(table, members[rows], members, logits)
    return page, search


def _fill(
    table: Similar, rows: NDArray[np.int64], members: NDArray[np.int64], logits: NDArray[np.float64]
) -> None:
    """Write the M best columns of ``logits`` and their softmax into rows of a table."""
    most = min(table.items.shape[1], logits.shape[1])
    best = np.argpartition(-logits, most - 1, axis=1)[:, :most]
    values = np.take_along_axis(logits, best, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    best, values = np.take_along_axis(best, order, 1), np.take_along_axis(values, order, 1)
    top = np.where(np.isfinite(values[:, :1]), values[:, :1], 0.0)
    weights = np.exp(values - top)
    total = weights.sum(axis=1, keepdims=True)
    chances = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    table.items[rows, :most] = members[best]
    table.cumulative[rows, :most] = np.cumsum(chances, axis=1)
    table.cumulative[rows, most:] = table.cumulative[rows, most - 1, None]


class ByPopularity:
    """Draws items of given leaves, or of all, with probabilities proportional to weights.

    Args:
        weights: Weight of each item, ``[N]``.
        leaf: Leaf of each item, ``[N]``.
        leaves: Number of leaves.
    """

    def __init__(self, weights: NDArray[np.float64], leaf: NDArray[np.int32], leaves: int) -> None:
        self.items = np.argsort(leaf, kind="stable")
        self.cumulative = np.concatenate([[0.0], np.cumsum(weights[self.items])])
        self.starts = np.searchsorted(leaf[self.items], np.arange(leaves + 1))

    def of_leaf(self, leaf: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw an item of each leaf, ``[v]``; ``NOTHING`` if a leaf is empty."""
        first, last = self.starts[leaf], self.starts[leaf + 1]
        low, high = self.cumulative[first], self.cumulative[last]
        place = np.searchsorted(
            self.cumulative, low + rng.random(len(leaf)) * (high - low), "right"
        )
        place = np.clip(place - 1, first, np.maximum(last - 1, first))
        drawn = self.items[np.minimum(place, len(self.items) - 1)]
        return np.where(last > first, drawn, NOTHING)

    def of_all(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw items of any leaf, ``[count]``."""
        chance = rng.random(count) * self.cumulative[-1]
        place = np.searchsorted(self.cumulative, chance, "right") - 1
        return np.asarray(self.items[np.minimum(place, len(self.items) - 1)])
