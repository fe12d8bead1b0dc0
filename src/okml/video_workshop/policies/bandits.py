"""The two simulations of Chen et al. (2019), section 6.1, with the solutions that we derived.

Gradients are expected ones, over all actions at once, so nothing is drawn and the stationary point
is exact:

* uncorrected, the policy goes to ``π_i = r_i β_i / Σ r_j β_j``: to the log as much as to rewards;
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

RATE = 1.0  # of gradient ascent, with rewards up to one; from about 4 on it swings
ACTIONS = 10


@dataclass(frozen=True, eq=False)
class Bandit:
    """One state, ten actions.

    Attributes:
        name: Of the simulation.
        rewards: ``[10]``.
        behavior: Chances under the log, ``[10]``.
        correction: Of the gradient.
        k: Of the top-K factor.
        solution: Where the policy must go, ``[10]``; None: no closed form.
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
    """Return the policy that gradient ascent ends at, ``[10]``."""
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
