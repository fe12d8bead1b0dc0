"""Weights of logged actions: top-K off-policy REINFORCE, actor-critics and TSCAC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from okml.off_policy import capped_ratio, top_k_factor
from okml.video_workshop.settings.goals import Correction


def action_weights(
    log_prob: Tensor,
    log_behavior: Tensor,
    returns: Tensor,
    correction: Correction,
    k: int,
    cap: float,
) -> Tensor:
    """Return the weight of ``grad log π(a|s)``: ratio times top-K factor times return, detached.

    Args:
        log_prob: Log-probability ``log π(a|s)`` of logged actions, any shape.
        log_behavior: Log-propensity ``log β(a|s)``, of the same shape.
        returns: Discounted return ``R``, of the same shape.
        correction: Importance ratio: ``none`` is 1, as if the log were on-policy; ``importance`` is
            ``π / β``; ``capped`` is at most ``cap``.
        k: List size K of the top-K factor; 1 is no factor.
        cap: Upper bound of ratios.
    """
    weights = top_k_factor(log_prob, k) * returns
    if correction == "none":
        return weights
    return weights * capped_ratio(log_prob, log_behavior, cap if correction == "capped" else None)


def reinforce_loss(log_prob: Tensor, weights: Tensor) -> Tensor:
    """Return the loss whose gradient is REINFORCE's, the mean over logged actions."""
    return -(weights * log_prob).mean()


def stage2_weights(
    log_stage1: Sequence[Tensor],
    log_behavior: Tensor,
    advantage: Tensor,
    multipliers: Sequence[float],
    ratio_cap: float = float("inf"),
    exponent_cap: float = float("inf"),
) -> Tensor:
    """Return the weight of each logged action in stage 2, detached.

    Args:
        log_stage1: Log-probability ``log π_i(a|s)`` under the policy of each auxiliary response.
        log_behavior: Log-propensity ``log β(a|s)``.
        advantage: Advantage ``A_1(s, a)`` of the main response.
        multipliers: Lagrange multiplier ``λ_i`` of each auxiliary response.
        ratio_cap: Upper bound of the product of ratios.
        exponent_cap: Bound of ``|A_1 / Λ|``.
    """
    total = sum(multipliers)
    shares = [value / total for value in multipliers]
    near = sum(share * log for share, log in zip(shares, log_stage1, strict=True))
    exponent = (advantage.detach() / total).clamp(-exponent_cap, exponent_cap)
    return capped_ratio(torch.as_tensor(near), log_behavior, ratio_cap) * exponent.exp()


def stage2_optimum(
    log_stage1: Sequence[Tensor], advantage: Tensor, multipliers: Sequence[float]
) -> Tensor:
    """Return ``π*`` over all actions, ``[..., a]``; arguments as in :func:`stage2_weights`."""
    total = sum(multipliers)
    near = sum(value / total * log for value, log in zip(multipliers, log_stage1, strict=True))
    return torch.softmax(near + advantage / total, -1)


def actor_weights(
    log_prob: Tensor, log_behavior: Tensor, advantage: Tensor, ratio_cap: float
) -> Tensor:
    """Return the weights of a plain actor: its advantage times a capped ratio, detached.

    The ratio corrects for sampling from the log. It also damps negative advantages: the rarer an
    action has become, the smaller its gradient.
    """
    return capped_ratio(log_prob, log_behavior, ratio_cap) * advantage.detach()


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
