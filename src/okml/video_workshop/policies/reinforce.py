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
    """Return what weighs ``grad log π(a|s)``: ratio times top-K factor times return, detached.

    Args:
        log_prob: ``log π(a|s)`` of logged actions, any shape.
        log_behavior: ``log β(a|s)``, likewise.
        returns: ``R``.
        correction: ``none``: no ratio, the log is taken for the policy's own; ``importance``:
            ``π / β``; ``capped``: at most ``cap``.
        k: Items of a list; 1: no factor.
        cap: Of ratios.
    """
    weights = top_k_factor(log_prob, k) * returns
    if correction == "none":
        return weights
    return weights * capped_ratio(log_prob, log_behavior, cap if correction == "capped" else None)


def reinforce_loss(log_prob: Tensor, weights: Tensor) -> Tensor:
    """Return the loss whose gradient is REINFORCE's, the mean over logged actions."""
    return -(weights * log_prob).mean()
