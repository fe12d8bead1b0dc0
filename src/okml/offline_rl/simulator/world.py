"""The rules of FunnelSim.

Items form clusters, each with a few *introductions* and other *core* items. A visitor is interested
in one hidden cluster. The purchase probability of its core items is low and grows with the number
of different introductions that the visitor has seen; an introduction is never bought and increases
the probability of leaving. So a policy that maximizes the next reward never shows an introduction,
and forgoes most purchases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from okml.offline_rl.rewards import ORDINARY, WANTED
from okml.offline_rl.settings import SimulatorSettings

PURCHASE = (0.02, 0.10, 0.45, 0.50)  # purchase probability by introductions seen, 0 to 3
PURCHASE_OUTSIDE = 0.01
LEAVE_INTRO, LEAVE_CORE, LEAVE_OUTSIDE = 0.10, 0.05, 0.20
FIRST_IN_CLUSTER = 0.8  # probability that the first item, which is no action, is of the cluster

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(eq=False)
class Visitors:
    """The states of simultaneous sessions.

    Attributes:
        cluster: The hidden cluster of interest of each visitor, ``[s]``.
        seen: Whether each introduction of the cluster was shown, ``[s, intros]``.
        here: Whether the visitor has not left, ``[s]``.
        bought_last: Whether the last item was bought, ``[s]``.
        ticket: A constant random number of each visitor in [0, 1), for traffic splits, ``[s]``.
    """

    cluster: Ints
    seen: NDArray[np.bool_]
    here: NDArray[np.bool_]
    bought_last: NDArray[np.bool_]
    ticket: Floats

    def only(self, which: Ints) -> Visitors:
        """Return some of the visitors, as copies."""
        return Visitors(**{name: values[which] for name, values in vars(self).items()})

    @property
    def introduced(self) -> Ints:
        """The number of different introductions seen, ``[s]``."""
        return np.asarray(self.seen.sum(1), dtype=np.int64)


class FunnelSim:
    """The shop. Items are numbered from 0: cluster by cluster, introductions first.

    Args:
        settings: The settings of the simulator.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.per_cluster = settings.intro_items + settings.core_items
        self.items = settings.clusters * self.per_cluster

    def cluster_of(self, items: Ints) -> Ints:
        """Return the cluster of each item."""
        return items // self.per_cluster

    def is_intro(self, items: Ints) -> NDArray[np.bool_]:
        """Return whether each item is an introduction."""
        return items % self.per_cluster < self.settings.intro_items

    def core(self, clusters: Ints, rng: np.random.Generator) -> Ints:
        """Draw a core item of each cluster."""
        place = rng.integers(self.settings.core_items, size=len(clusters))
        return clusters * self.per_cluster + self.settings.intro_items + place

    def arrive(self, count: int, rng: np.random.Generator) -> tuple[Visitors, Ints]:
        """Return new visitors and the first item of each, ``[s]``."""
        cluster = rng.integers(self.settings.clusters, size=count)
        other = rng.integers(self.settings.clusters, size=count)
        own = rng.random(count) < FIRST_IN_CLUSTER
        first = self.core(np.where(own, cluster, other), rng)
        seen = np.zeros((count, self.settings.intro_items), dtype=bool)
        nothing = np.zeros(count, dtype=bool)
        here = np.ones(count, dtype=bool)
        return Visitors(cluster, seen, here, nothing, rng.random(count)), first

    def step(self, visitors: Visitors, items: Ints, rng: np.random.Generator) -> Floats:
        """Show an item to each visitor; return rewards, 0 for visitors who have left, ``[s]``.

        Args:
            visitors: The visitors, whose states are updated in place.
            items: The item for each visitor, ``[s]``.
            rng: The generator of purchases and departures.
        """
        own = self.cluster_of(items) == visitors.cluster
        intro = self.is_intro(items) & own
        chance = purchase_chance(visitors.introduced, own, intro)
        chance = np.where(self.is_intro(items), 0.0, chance)
        bought = (rng.random(len(items)) < chance) & visitors.here
        reward = np.where(bought, WANTED, ORDINARY) * visitors.here
        leave = np.where(intro, LEAVE_INTRO, np.where(own, LEAVE_CORE, LEAVE_OUTSIDE))
        shown = np.flatnonzero(intro & visitors.here)
        visitors.seen[shown, items[shown] % self.per_cluster] = True
        visitors.bought_last = bought
        visitors.here &= rng.random(len(items)) >= leave
        return reward


def purchase_chance(introduced: Ints, own: NDArray[np.bool_], intro: NDArray[np.bool_]) -> Floats:
    """Return the purchase probabilities, ``[s]``."""
    table = np.array(PURCHASE)[np.minimum(introduced, len(PURCHASE) - 1)]
    return np.where(intro, 0.0, np.where(own, table, PURCHASE_OUTSIDE))
