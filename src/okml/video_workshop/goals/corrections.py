"""Weights of logged actions: top-K off-policy REINFORCE, actor-critics and TSCAC."""

from __future__ import annotations

from collections.abc import Sequence

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
    """Return the loss whose gradient is REINFORCE's, a mean over logged actions, ``[n]`` each."""
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
        log_stage1: Log-probability ``log π_i(a|s)`` under the policy of each auxiliary response,
            ``[n]`` each.
        log_behavior: Log-propensity ``log β(a|s)``, ``[n]``.
        advantage: Advantage ``A_1(s, a)`` of the main response, ``[n]``.
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
    """Return the weights of a plain actor, ``[n]``: its advantage times a capped ratio, detached.

    The ratio corrects for sampling from the log. It also damps negative advantages: the rarer an
    action has become, the smaller its gradient.
    """
    return capped_ratio(log_prob, log_behavior, ratio_cap) * advantage.detach()
