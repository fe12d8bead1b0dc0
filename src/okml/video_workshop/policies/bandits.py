"""The two simulations of Chen et al. (2019), section 6.1, with derived solutions.

Gradients are exact expectations over all actions, so the stationary point is exact:

* uncorrected, the policy converges to ``π_i = r_i β_i / Σ r_j β_j``, biased by the log;
* corrected, to the best action alone;
* with a top-K factor of K = 2, to the maximum of ``Σ r_i (2 π_i - π_i²)``, which splits between
  rewards 10 and 9 as 10/19 and 9/19.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from okml.video_workshop.policies.reinforce import action_weights
from okml.video_workshop.policies.settings import Correction

RATE = 1.0  # step size of gradient ascent, with rewards up to one; from about 4 on it oscillates
ACTIONS = 10


@dataclass(frozen=True, eq=False)
class Bandit:
    """A bandit problem with ten actions.

    Attributes:
        name: Name of the simulation.
        rewards: Reward of each action, ``[10]``.
        behavior: Behavior policy of the log, ``[10]``.
        correction: Off-policy correction of the gradient.
        k: List size K of the top-K factor.
        solution: Stationary policy, ``[10]``; None: no closed form.
    """

    name: str
    rewards: Tensor
    behavior: Tensor
    correction: Correction
    k: int
    solution: Tensor | None


def bandits() -> list[Bandit]:
    """Return the cases: simulation A with and without correction, simulation B for three K."""
    rising = torch.arange(1, ACTIONS + 1, dtype=torch.float64)
    falling = rising.flip(0) / rising.sum()
    two_good = torch.tensor([10.0, 9.0] + [1.0] * 8, dtype=torch.float64)
    uniform = torch.full((ACTIONS,), 1 / ACTIONS, dtype=torch.float64)
    mixed = rising * falling / (rising * falling).sum()
    split = two_good * (two_good > 1) / 19
    return [
        Bandit("A", rising, falling, "none", 1, mixed),
        Bandit("A", rising, falling, "importance", 1, _only(ACTIONS - 1)),
        Bandit("B", two_good, uniform, "importance", 1, _only(0)),
        Bandit("B", two_good, uniform, "importance", 2, split),
        Bandit("B", two_good, uniform, "importance", 3, None),
    ]


def solve_bandit(bandit: Bandit, steps: int) -> Tensor:
    """Return the policy after ``steps`` of gradient ascent, ``[10]``."""
    logits = torch.zeros(ACTIONS, dtype=torch.float64, requires_grad=True)
    returns = bandit.rewards / bandit.rewards.max()
    log_behavior = bandit.behavior.log()
    for _ in range(steps):
        log_prob = logits.log_softmax(0)
        weights = action_weights(
            log_prob, log_behavior, returns, bandit.correction, bandit.k, cap=float("inf")
        )
        expected = (bandit.behavior * weights * log_prob).sum()
        (gradient,) = torch.autograd.grad(expected, logits)
        with torch.no_grad():
            logits += RATE * gradient
    return logits.detach().softmax(0)


def _only(action: int) -> Tensor:
    found = torch.zeros(ACTIONS, dtype=torch.float64)
    found[action] = 1
    return found
