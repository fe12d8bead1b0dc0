"""Exact returns in FunnelSim by dynamic programming, for policies that know the interest.

Given the hidden cluster, the state is the number of different introductions seen and the number of
steps left. So the returns of the best and of the myopic policy are sums, not samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from okml.offline_rl.rewards import ORDINARY, WANTED
from okml.offline_rl.settings import SimulatorSettings
from okml.offline_rl.simulator.world import LEAVE_CORE, LEAVE_INTRO, PURCHASE

INTRO, CORE = 0, 1


@dataclass(frozen=True)
class Exact:
    """Expected returns of one session, without discount, from its first action.

    Attributes:
        best: The return of the best policy.
        myopic: The return of the policy that maximizes each next reward.
        choices: The choice of the best policy by steps left (from 1) and introductions seen.
        rewards: The expected next reward of an introduction and of a core item, by introductions
            seen.
    """

    best: float
    myopic: float
    choices: NDArray[np.int64]
    rewards: NDArray[np.float64]


def solve(settings: SimulatorSettings) -> Exact:
    """Return the values of the best and of the myopic policy."""
    stages = settings.intro_items + 1
    chance = np.array(PURCHASE)[np.minimum(np.arange(stages), len(PURCHASE) - 1)]
    rewards = np.stack(
        [np.full(stages, ORDINARY), chance * WANTED + (1 - chance) * ORDINARY], axis=1
    )  # [stages, 2]
    greedy = rewards.argmax(1)
    after_intro = np.minimum(np.arange(stages) + 1, stages - 1)
    best, myopic = np.zeros(stages), np.zeros(stages)
    choices = np.zeros((settings.longest, stages), dtype=np.int64)
    # The first item is no action, so a session of n steps has n - 1 actions.
    for left in range(settings.longest - 1):
        best_of, myopic_of = (
            rewards + np.stack([(1 - LEAVE_INTRO) * v[after_intro], (1 - LEAVE_CORE) * v], axis=1)
            for v in (best, myopic)
        )
        choices[left] = best_of.argmax(1)
        best = best_of.max(1)
        myopic = myopic_of[np.arange(stages), greedy]
    return Exact(float(best[0]), float(myopic[0]), choices[: settings.longest - 1], rewards)
