"""The choice model of the shop's customers: items near another one, or by popularity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from okml.lightsage.shop.catalog import Listings
from okml.lightsage.shop.settings import ShopSettings

POPULARITY_PULL = 0.5  # coefficient of log-popularity in the logit of a shown item
BLOCK_ENTRIES = 2**22  # distances that exist at once
NOTHING = -1


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

    def draw(self, near: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw an item near each of some items; ``NOTHING`` if there is no candidate."""
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
        """Draw an item of each leaf; ``NOTHING`` if a leaf is empty."""
        first, last = self.starts[leaf], self.starts[leaf + 1]
        low, high = self.cumulative[first], self.cumulative[last]
        place = np.searchsorted(
            self.cumulative, low + rng.random(len(leaf)) * (high - low), "right"
        )
        place = np.clip(place - 1, first, np.maximum(last - 1, first))
        drawn = self.items[np.minimum(place, len(self.items) - 1)]
        return np.where(last > first, drawn, NOTHING)

    def of_all(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw items of any leaf."""
        chance = rng.random(count) * self.cumulative[-1]
        place = np.searchsorted(self.cumulative, chance, "right") - 1
        return np.asarray(self.items[np.minimum(place, len(self.items) - 1)])
