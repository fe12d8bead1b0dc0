"""Constrained actor-critics: TSCAC of Cai et al. (2023), and its baselines.

Every response has a critic. Stage 1 learns a policy for each auxiliary response; stage 2 raises the
main response and stays close to all of them. The optimum of stage 2 is

``π*(a|s) ∝ Π_i π_i(a|s)^{w_i} exp(A_1(s, a) / Λ)``, ``Λ = Σ λ_i``, ``w_i = λ_i / Λ``,

and its projection on a policy maximizes the log-likelihood of the log with the weights
``Π_i (π_i / β)^{w_i} exp(A_1 / Λ)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from okml.off_policy import capped_ratio


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
