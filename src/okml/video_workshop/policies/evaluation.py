"""Off-policy evaluation of policies on a log of the simulator: one action, exact propensities.

The first item of a logged slate was drawn with a known propensity. So the mean response to the
first item under another policy can be estimated on the log's states, and compared with the truth
there. The states that the policy itself would reach need a roll-out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from okml.off_policy import StepEstimate, step_estimate
from okml.video_workshop.policies.network import SoftmaxPolicy, log_probabilities
from okml.video_workshop.policies.settings import ReinforceSettings
from okml.video_workshop.simulator.rollout import Rollout, Situation
from okml.video_workshop.simulator.world import Floats, World


@dataclass(frozen=True, eq=False)
class Judged:
    """A policy evaluated on the states of a log.

    Attributes:
        situation: States of the log.
        chance: Probability of each candidate under the policy, ``[r, c]``.
        ratio: Importance ratio ``π / β`` of the first item of each slate, ``[r]``.
    """

    situation: Situation
    chance: Floats
    ratio: Floats
    log: Rollout

    def estimate(self, responses: NDArray[np.generic], settings: ReinforceSettings) -> StepEstimate:
        """Return the estimated mean of a response ``[r, k]`` to the first item."""
        first = responses[:, 0].astype(np.float64)
        return step_estimate(self.ratio, first, settings.evaluation_cap, settings.least_effective)

    def true_watch(self, world: World) -> float:
        """Return the true mean watching of the first item on the same states."""
        return float((self.chance * self._earns(world)).sum(1).mean())

    def true_list_watch(self, world: World, draws: int) -> float:
        """Return the true mean watching of a list that is drawn with replacement.

        An item counts once, however often it is drawn; the top-K factor optimizes this mean.

        Args:
            world: World whose true responses count.
            draws: Number of draws K of a list.
        """
        drawn = 1 - (1 - self.chance) ** draws
        return float((drawn * self._earns(world)).sum(1).mean())

    def _earns(self, world: World) -> Floats:
        """Return the expected watching of each candidate, ``[r, c]``."""
        situation = self.situation
        clicks = world.click(situation.users, situation.candidates, situation.satiation)
        found: Floats = (
            clicks * world.expected_watch[situation.users[:, None], situation.candidates]
        )
        return found


def judge(policy: SoftmaxPolicy, log: Rollout) -> Judged:
    """Evaluate a policy on the states and first actions of a log."""
    situation = Situation(
        users=log.users,
        candidates=log.candidates.astype(np.int64),
        recent=log.recent.astype(np.int64),
        satiation=log.satiation.astype(np.float64),
    )
    chance = np.exp(log_probabilities(policy, situation))
    first = (situation.candidates == log.items[:, :1]).argmax(1)
    taken = chance[np.arange(len(first)), first]
    return Judged(situation, chance, taken / log.propensity[:, 0].astype(np.float64), log)
