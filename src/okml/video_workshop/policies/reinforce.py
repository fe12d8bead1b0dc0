"""Top-K off-policy corrected REINFORCE, Chen et al. (2019)."""

from __future__ import annotations

from torch import Tensor

from okml.off_policy import capped_ratio, top_k_factor
from okml.video_workshop.policies.settings import Correction


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
