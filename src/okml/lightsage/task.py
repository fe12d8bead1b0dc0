"""A data set under its protocol: the tail, the test pairs, and the items that may be shown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.errors import ParameterError
from okml.lightsage.datasets import (
    ShopData,
    complete_journey,
    coveo,
    diginetica_sessions,
    movielens,
    synthetic_shop,
)
from okml.lightsage.datasets.shop_data import PAIR_SCHEMA
from okml.lightsage.graph.events import PAGES
from okml.lightsage.ranking import Numbers, clones_of
from okml.lightsage.settings import TaskSettings

PAIR_SEED = 0  # seed of the sample of test pairs


@dataclass(frozen=True, eq=False)
class Transitions:
    """Transitions of users from one item to another.

    Attributes:
        user: User of each pair, ``[p]``.
        item: Viewed item, ``[p]``.
        target: Item opened next, ``[p]``.
    """

    user: Numbers
    item: Numbers
    target: Numbers

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.item)

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Transitions:
        """Return the pairs of a frame, ``PAIR_SCHEMA``."""
        columns = (frame[name].to_numpy().astype(np.int64) for name in PAIR_SCHEMA.names())
        return cls(*columns)

    def where(self, rows: NDArray[np.int64]) -> Transitions:
        """Return the pairs with the numbers ``rows``."""
        return Transitions(self.user[rows], self.item[rows], self.target[rows])


@dataclass(frozen=True, eq=False)
class RetrievalTask:
    """The task of finding the item that a user opens next to another one.

    Item statistics follow from the training log alone.
    """

    settings: TaskSettings
    shop: ShopData

    @property
    def items(self) -> int:
        """Number of items N."""
        return self.shop.item_count

    @property
    def label(self) -> str:
        """Name to show, which marks synthetic data."""
        return f"{self.shop.name} (synthetic)" if self.shop.synthetic else self.shop.name

    @cached_property
    def clicks(self) -> NDArray[np.int64]:
        """Number of page views of each item in the training period, ``[N]``.

        In a log without pages every event counts: a purchase.
        """
        pages = self.shop.train.filter(pl.col("action").is_in(PAGES))
        counted = self.shop.train if pages.is_empty() else pages
        return np.bincount(counted["item"].to_numpy(), minlength=self.items)

    @cached_property
    def tail(self) -> NDArray[np.bool_]:
        """Items with few clicks, ``[N]``."""
        return np.asarray(self.clicks < self.settings.tail_clicks)

    @cached_property
    def cold(self) -> NDArray[np.bool_]:
        """Items without any click, ``[N]``."""
        return np.asarray(self.clicks == 0)

    @cached_property
    def ads(self) -> NDArray[np.bool_]:
        """Items that may be shown as ads, ``[N]``."""
        return self.shop.items["is_ad"].to_numpy()

    @cached_property
    def clones(self) -> Numbers:
        """Other listings of each item's product, ``[N, C]``, -1 where there are fewer."""
        return clones_of(self.shop.items["product"].to_numpy())

    @cached_property
    def category(self) -> Numbers:
        """Category of each item, -1 where unknown, ``[N]``."""
        return self.shop.items["category"].to_numpy().astype(np.int64)

    @cached_property
    def kind(self) -> Numbers:
        """Type of each item within its category, ``[N]``."""
        return self.shop.items["type"].to_numpy().astype(np.int64)

    @cached_property
    def key(self) -> Numbers:
        """Number of each item's combination of category and type, ``[N]``."""
        _, code = np.unique(np.stack([self.category, self.kind]), axis=1, return_inverse=True)
        return np.asarray(code.ravel(), np.int64)

    @cached_property
    def test(self) -> Transitions:
        """Transitions of the test period."""
        return self._pairs(self.shop.test, self.settings.test_pairs)

    @cached_property
    def valid(self) -> Transitions:
        """Transitions of the validation period."""
        return self._pairs(self.shop.valid, self.settings.valid_pairs)

    def _pairs(self, frame: pl.DataFrame, most: int | None) -> Transitions:
        pairs = Transitions.of(frame)
        if not len(pairs):
            raise ParameterError(f"{self.shop.name} has no pairs to test on; draw a larger log.")
        if most is None or len(pairs) <= most:
            return pairs
        chosen = np.random.default_rng(PAIR_SEED).choice(len(pairs), most, replace=False)
        return pairs.where(np.sort(chosen))


def open_task(settings: TaskSettings, seed: int) -> RetrievalTask:
    """Read or draw a shop.

    Args:
        settings: Settings of the data set.
        seed: Random seed of the synthetic shop and of Diginetica's axes. Real logs have one split.
    """
    match settings.name:
        case "synthetic":
            shop = synthetic_shop(settings.shop, seed)
        case "movielens":
            shop = movielens()
        case "diginetica":
            shop = diginetica_sessions(settings.train_weeks, seed)
        case "complete_journey":
            shop = complete_journey()
        case "coveo":
            shop = coveo(settings.whole)
    return RetrievalTask(settings, shop)
