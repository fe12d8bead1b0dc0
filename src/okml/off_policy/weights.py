"""Weights of logged actions in training. None of them lets a gradient through.

A gradient of a policy's objective has the form ``weight * grad log π``; a weight that is itself
differentiated makes another objective of it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def top_k_factor(log_prob: Tensor, k: int) -> Tensor:
    """Return ``K (1 - π)^(K - 1)`` from log π: near K for rare actions, near 0 for sure ones.

    It is the derivative of ``1 - (1 - π)^K``, the chance of being among K draws; section 4.3 of
    Chen et al. (2019).
    """
    found: Tensor = k * (1 - log_prob.detach().exp()).clamp_min(0) ** (k - 1)
    return found


def capped_ratio(log_prob: Tensor, log_behavior: Tensor, cap: float | None = None) -> Tensor:
    """Return ``min(π / β, cap)`` from their logarithms; ``cap`` None: as it is."""
    ratio = torch.exp(log_prob.detach() - log_behavior.detach())
    return ratio if cap is None else ratio.clamp_max(cap)
