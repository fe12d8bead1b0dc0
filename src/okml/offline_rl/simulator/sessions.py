"""Sessions of the simulator, under the logging policy or another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.data.logs import EVENT_SCHEMA
from okml.offline_rl.simulator.world import Floats, FunnelSim, Ints, Visitors

# A policy: a function from visitors, histories ``[s, t]`` (items from 0) and a generator to items
# ``[s]`` and their probabilities ``[s]``. Trained policies ignore the visitors.
Recommend = Callable[[Visitors, Ints, np.random.Generator], tuple[Ints, Floats]]

FAITHFUL = 0.75  # share of the usual policy's core items from the visitor's cluster
STRAY_INTRO = 0.06  # share of the usual policy's random introductions
ENOUGH_INTROS = 2  # number of introductions that an expert shows


@dataclass(frozen=True, eq=False)
class Sessions:
    """Simulated sessions, padded on the right.

    Attributes:
        items: The items from 0, ``[s, t]``, -1 after the end; the first one is no action.
        rewards: The reward of each item, ``[s, t]``; 0.2 for the first, as for a click.
        bought: Whether each item was bought, ``[s, t]``.
        propensity: The probability of each action, ``[s, t]``; 1 for the first item.
        lengths: The number of items of each session, ``[s]``.
    """

    items: Ints
    rewards: Floats
    bought: NDArray[np.bool_]
    propensity: Floats
    lengths: Ints

    def returns(self, gamma: float = 1.0) -> Floats:
        """Return the discounted return of the actions of each session, ``[s]``."""
        return self.rewards[:, 1:] @ gamma ** np.arange(self.rewards.shape[1] - 1)

    def frame(self) -> pl.DataFrame:
        """Return the sessions as events in the form of :mod:`okml.data.logs`."""
        session, step = np.nonzero(self.items >= 0)
        return pl.DataFrame(
            {
                "user": session.astype(str),
                "item": self.items[session, step].astype(str),
                "time": step,
                "kind": np.where(self.bought[session, step], "purchase", "click"),
                "value": self.rewards[session, step],
            }
        ).cast(EVENT_SCHEMA)


def simulate(
    shop: FunnelSim, recommend: Recommend, count: int, rng: np.random.Generator
) -> Sessions:
    """Simulate ``count`` visitors under a policy until they leave."""
    visitors, first = shop.arrive(count, rng)
    longest = shop.settings.longest
    items = np.full((count, longest), -1, dtype=np.int64)
    rewards, propensity = np.zeros((count, longest)), np.ones((count, longest))
    bought = np.zeros((count, longest), dtype=bool)
    items[:, 0], rewards[:, 0] = first, 0.2
    for step in range(1, longest):
        here = np.flatnonzero(visitors.here)
        if not len(here):
            break
        shown, chance = recommend(visitors.only(here), items[here, :step], rng)
        everyone = np.zeros(count, dtype=np.int64)
        everyone[here] = shown
        rewards[:, step] = shop.step(visitors, everyone, rng)
        items[here, step], propensity[here, step] = shown, chance
        bought[:, step] = visitors.bought_last
    return Sessions(items, rewards, bought, propensity, (items >= 0).sum(1))


def logging_policy(shop: FunnelSim) -> Recommend:
    """Return the logging policy: mostly core items, some expert sessions, some exploration.

    It knows the visitor's interest, like a shop with long histories; an expert shows unseen
    introductions until two are seen, and sometimes does the opposite. Every action has a positive
    probability; the returned propensity is that of the mixture of all random choices.
    """
    settings = shop.settings
    members = np.arange(shop.items)
    intro = shop.is_intro(members)[None]  # [1, V]
    anywhere = (1 - FAITHFUL) * (1 - STRAY_INTRO) * ~intro / (~intro).sum()
    stray = STRAY_INTRO * intro / intro.sum()

    def recommend(
        visitors: Visitors, history: Ints, rng: np.random.Generator
    ) -> tuple[Ints, Floats]:
        own = shop.cluster_of(members)[None] == visitors.cluster[:, None]  # [s, V]
        core = (own & ~intro) / settings.core_items
        usual = (1 - STRAY_INTRO) * FAITHFUL * core + anywhere + stray
        unseen = own & intro
        row, place = np.nonzero(visitors.seen)
        unseen[row, visitors.cluster[row] * shop.per_cluster + place] = False
        teaching = unseen / np.maximum(unseen.sum(1, keepdims=True), 1)
        taught = (visitors.introduced >= ENOUGH_INTROS)[:, None]
        expert = (visitors.ticket < settings.experts)[:, None]
        all_of = own & intro
        again = all_of / all_of.sum(1, keepdims=True)
        right, wrong = np.where(taught, core, teaching), np.where(taught, again, core)
        lesson = (1 - settings.expert_slips) * right + settings.expert_slips * wrong
        chosen = np.where(expert, lesson, usual)
        return draw(settings.exploration / shop.items + (1 - settings.exploration) * chosen, rng)

    return recommend


def draw(probability: Floats, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Draw an item from each row of ``[s, V]``; return items and their probabilities."""
    total = probability.cumsum(1)
    points = rng.random(len(probability))[:, None] * total[:, -1:]
    items = (total < points).sum(1).clip(max=probability.shape[1] - 1)
    return items, probability[np.arange(len(items)), items] / total[:, -1]
