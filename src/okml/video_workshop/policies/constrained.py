"""Constrained actor-critics: TSCAC of Cai et al. (2023), and what it is compared with.

Every response has a critic. Stage 1 learns a policy for each auxiliary response; stage 2 raises the
main response and stays close to all of them. The optimum of stage 2 is

``π*(a|s) ∝ Π_i π_i(a|s)^{w_i} exp(A_1(s, a) / Λ)``, ``Λ = Σ λ_i``, ``w_i = λ_i / Λ``,

and its projection on a policy maximizes a weighted log-likelihood of the log, as the weights
``Π_i (π_i / β)^{w_i} exp(A_1 / Λ)`` say.
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
        log_stage1: ``log π_i(a|s)`` of the policy of each auxiliary response.
        log_behavior: ``log β(a|s)``.
        advantage: ``A_1(s, a)`` of the main response.
        multipliers: ``λ_i`` of each.
        ratio_cap: Of the product of ratios.
        exponent_cap: Of ``A_1 / Λ``, either way.
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

    The ratio stands for the policy's own samples. It also ends what a negative advantage does:
    the rarer an action has become, the less is taken from it.
    """
    return capped_ratio(log_prob, log_behavior, ratio_cap) * advantage.detach()
