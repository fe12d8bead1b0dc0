"""FunnelSim: a shop where introductions lose immediate reward and gain later reward.

Items form clusters, each with a few *introductions* and other *core* items. A visitor is interested
in one hidden cluster. The purchase probability of its core items is low and grows with the number
of different introductions that the visitor has seen; an introduction is never bought and increases
the probability of leaving. So a policy that maximizes the next reward never shows an introduction,
and forgoes most purchases.

Items are numbered from 0: cluster by cluster, introductions first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from okml.data.logs import EVENT_SCHEMA
from okml.offline_rl.rewards import ORDINARY, WANTED
from okml.seqrec.encoder import Encoder
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.metrics import Floats

CLUSTERS = 8
INTRODUCTIONS, CORE_ITEMS = 3, 12  # items of a cluster
CLUSTER_ITEMS = INTRODUCTIONS + CORE_ITEMS
ITEMS = CLUSTERS * CLUSTER_ITEMS
LONGEST = 20  # items of a session, of which the first is no action

PURCHASE = (0.02, 0.10, 0.45, 0.50)  # purchase probability by introductions seen, 0 to 3
PURCHASE_OUTSIDE = 0.01
LEAVE_INTRO, LEAVE_CORE, LEAVE_OUTSIDE = 0.10, 0.05, 0.20
FIRST_IN_CLUSTER = 0.8  # probability that the first item is of the visitor's cluster

# The policy of the log.
LOGGING = "the log's policy"  # its name in tables and figures
FAITHFUL = 0.75  # share of the usual policy's core items from the visitor's cluster
STRAY_INTRO = 0.06  # share of the usual policy's random introductions
EXPERTS = 0.25  # share of sessions with the expert policy
ENOUGH_INTROS = 2  # number of introductions that an expert shows
# Share of an expert's actions that are deliberately wrong. Without them the log never shows a third
# introduction, its value is extrapolated from the first two, and CRR shows nothing else.
EXPERT_SLIPS = 0.2
EXPLORATION = 0.05  # share of uniform actions, for positive propensities of all items


@dataclass(eq=False)
class Visitors:
    """The states of simultaneous sessions.

    Attributes:
        cluster: The hidden cluster of interest of each visitor, ``[s]``.
        seen: Whether each introduction of the cluster was shown, ``[s, intros]``.
        here: Whether the visitor has not left, ``[s]``.
        ticket: A constant random number of each visitor in [0, 1), for traffic splits, ``[s]``.
    """

    cluster: Ints
    seen: NDArray[np.bool_]
    here: NDArray[np.bool_]
    ticket: Floats

    def only(self, which: Ints) -> Visitors:
        """Return copies of the visitors with the numbers ``which``."""
        return Visitors(**{name: values[which] for name, values in vars(self).items()})

    @property
    def introduced(self) -> Ints:
        """The number of different introductions seen, ``[s]``."""
        return np.asarray(self.seen.sum(1), dtype=np.int64)


# A policy: a function from visitors, histories ``[s, t]`` and a generator to items ``[s]`` and
# their probabilities ``[s]``. Trained policies ignore the visitors.
Recommend = Callable[[Visitors, Ints, np.random.Generator], tuple[Ints, Floats]]


def is_introduction(items: Ints) -> NDArray[np.bool_]:
    """Return whether each item, ``[...]``, is an introduction."""
    return items % CLUSTER_ITEMS < INTRODUCTIONS


def draw_core(clusters: Ints, rng: np.random.Generator) -> Ints:
    """Draw a core item of each cluster in ``clusters``, ``[s]``."""
    place = rng.integers(CORE_ITEMS, size=len(clusters))
    return clusters * CLUSTER_ITEMS + INTRODUCTIONS + place


def arrive(count: int, rng: np.random.Generator) -> tuple[Visitors, Ints]:
    """Return new visitors and the first item of each, ``[s]``."""
    cluster = rng.integers(CLUSTERS, size=count)
    other = rng.integers(CLUSTERS, size=count)
    own = rng.random(count) < FIRST_IN_CLUSTER
    first = draw_core(np.where(own, cluster, other), rng)
    seen = np.zeros((count, INTRODUCTIONS), dtype=bool)
    return Visitors(cluster, seen, np.ones(count, dtype=bool), rng.random(count)), first


def show(visitors: Visitors, items: Ints, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Show an item to each visitor, ``[s]``; return whether it is bought, ``[s]``.

    States are updated in place. Those who have left are shown nothing.
    """
    own = items // CLUSTER_ITEMS == visitors.cluster
    intro = is_introduction(items)
    chance = np.where(own, np.array(PURCHASE)[visitors.introduced], PURCHASE_OUTSIDE)
    bought = (rng.random(len(items)) < np.where(intro, 0.0, chance)) & visitors.here
    leave = np.where(own, np.where(intro, LEAVE_INTRO, LEAVE_CORE), LEAVE_OUTSIDE)
    shown = np.flatnonzero(own & intro & visitors.here)
    visitors.seen[shown, items[shown] % CLUSTER_ITEMS] = True
    visitors.here &= rng.random(len(items)) >= leave
    return bought


@dataclass(frozen=True, eq=False)
class Sessions:
    """Simulated sessions, padded on the right.

    Attributes:
        items: The items, ``[s, t]``, -1 after the end; the first one is no action.
        rewards: The reward of each item, ``[s, t]``; 0.2 for the first, as for a click.
        bought: Whether each item was bought, ``[s, t]``.
        propensity: The probability of each action, ``[s, t]``; 1 for the first item.
    """

    items: Ints
    rewards: Floats
    bought: NDArray[np.bool_]
    propensity: Floats

    @property
    def lengths(self) -> Ints:
        """The number of items of each session, ``[s]``."""
        return np.asarray((self.items >= 0).sum(1), dtype=np.int64)

    def returns(self, gamma: float = 1.0, horizon: int = LONGEST, first: int = 1) -> Floats:
        """Return the discounted return of ``horizon`` actions from number ``first`` on, ``[s]``."""
        rewards = self.rewards[:, first : first + horizon]
        return rewards @ gamma ** np.arange(rewards.shape[1])

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


def simulate(recommend: Recommend, count: int, rng: np.random.Generator) -> Sessions:
    """Simulate ``count`` visitors under a policy until they leave."""
    visitors, first = arrive(count, rng)
    items = np.full((count, LONGEST), -1, dtype=np.int64)
    rewards, propensity = np.zeros((count, LONGEST)), np.ones((count, LONGEST))
    bought = np.zeros((count, LONGEST), dtype=bool)
    items[:, 0], rewards[:, 0] = first, ORDINARY
    for step in range(1, LONGEST):
        here = np.flatnonzero(visitors.here)
        if not len(here):
            break
        items[here, step], propensity[here, step] = recommend(
            visitors.only(here), items[here, :step], rng
        )
        bought[:, step] = show(visitors, items[:, step].clip(0), rng)
        rewards[here, step] = np.where(bought[here, step], WANTED, ORDINARY)
    return Sessions(items, rewards, bought, propensity)


def logging_policy(
    visitors: Visitors, history: Ints, rng: np.random.Generator
) -> tuple[Ints, Floats]:
    """Recommend as the log's policy: core items, some expert sessions, some exploration.

    It knows the visitor's interest, like a shop with long histories; an expert shows unseen
    introductions until two are seen, and sometimes does the opposite. Every action has a positive
    probability; the returned propensity is that of the mixture of all random choices.
    """
    members = np.arange(ITEMS)
    intro = is_introduction(members)[None]  # [1, V]
    own = members // CLUSTER_ITEMS == visitors.cluster[:, None]  # [s, V]
    core, again = (own & ~intro) / CORE_ITEMS, (own & intro) / INTRODUCTIONS
    anywhere = (1 - FAITHFUL) * (1 - STRAY_INTRO) * ~intro / (~intro).sum()
    stray = STRAY_INTRO * intro / intro.sum()
    usual = (1 - STRAY_INTRO) * FAITHFUL * core + anywhere + stray
    unseen = own & intro
    row, place = np.nonzero(visitors.seen)
    unseen[row, visitors.cluster[row] * CLUSTER_ITEMS + place] = False
    teaching = unseen / np.maximum(unseen.sum(1, keepdims=True), 1)
    taught = (visitors.introduced >= ENOUGH_INTROS)[:, None]
    right, wrong = np.where(taught, core, teaching), np.where(taught, again, core)
    lesson = (1 - EXPERT_SLIPS) * right + EXPERT_SLIPS * wrong
    chosen = np.where((visitors.ticket < EXPERTS)[:, None], lesson, usual)
    return draw(EXPLORATION / ITEMS + (1 - EXPLORATION) * chosen, rng)


def teacher(introductions: int) -> Recommend:
    """Return a policy that knows the interest and shows a number of introductions first.

    With 0 it is the myopic policy, which maximizes each next reward.
    """

    def recommend(
        visitors: Visitors, history: Ints, rng: np.random.Generator
    ) -> tuple[Ints, Floats]:
        core = draw_core(visitors.cluster, rng)
        # Introductions are shown in order, so the number seen is the index of the next one.
        intro = visitors.cluster * CLUSTER_ITEMS + visitors.introduced
        shown = np.where(visitors.introduced < introductions, intro, core)
        return shown, np.ones(len(history))

    return recommend


def softmax_policy(
    encoder: Encoder, interactions: Interactions, length: int, device: torch.device
) -> Recommend:
    """Return a policy that draws items from the softmax of an encoder over histories.

    The items of the encoder are numbered as in the training log, ``interactions``. A state has at
    most ``length`` items.
    """
    encoder.eval()
    numbers = shop_items(interactions)

    @torch.inference_mode()
    def recommend(
        visitors: Visitors, history: Ints, rng: np.random.Generator
    ) -> tuple[Ints, Floats]:
        items = torch.from_numpy(log_items(history[:, -length:], interactions)).to(device)
        logits = encoder.last(items) @ encoder.item_matrix()[1:].T
        chosen, chance = draw(logits.double().softmax(1).cpu().numpy(), rng)
        return numbers[chosen], chance

    return recommend


def shop_items(interactions: Interactions) -> Ints:
    """Return the shop's number of each item of a log, ``[V]``, in the log's order from 1."""
    return interactions.item_ids.cast(int).to_numpy().astype(np.int64)


def log_items(items: Ints, interactions: Interactions) -> Ints:
    """Return the log's numbers, from 1, of the shop's items, ``[...]``; 0 for the end, -1."""
    numbers = shop_items(interactions)
    table = np.zeros(ITEMS + 1, dtype=np.int64)
    table[numbers] = np.arange(1, len(numbers) + 1)
    return table[items]


def draw(probability: Floats, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Draw an item from each row of ``[s, V]``; return items and their probabilities."""
    total = probability.cumsum(1)
    points = rng.random(len(probability))[:, None] * total[:, -1:]
    items = (total < points).sum(1).clip(max=probability.shape[1] - 1)
    return items, probability[np.arange(len(items)), items] / total[:, -1]
