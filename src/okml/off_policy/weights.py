"""Weights of logged actions in training, all detached (stop-gradient).

The policy gradient has the form ``weight * grad log π``; differentiating the weight would change
the objective.
"""

from __future__ import annotations

import torch
from torch import Tensor


def top_k_factor(log_prob: Tensor, k: int) -> Tensor:
    """Return ``K (1 - π)^(K - 1)`` from log π, ``[...]``: near K if rare, near 0 if likely.

    It is the derivative of ``1 - (1 - π)^K``, the probability of being among K draws; section 4.3
    of Chen et al. (2019).
    """
    found: Tensor = k * (1 - log_prob.detach().exp()).clamp_min(0) ** (k - 1)
    return found


def capped_ratio(log_prob: Tensor, log_behavior: Tensor, cap: float | None = None) -> Tensor:
    """Return ``min(π / β, cap)`` from log π and log β, ``[...]`` each; None for no cap."""
    ratio = torch.exp(log_prob.detach() - log_behavior.detach())
    return ratio if cap is None else ratio.clamp_max(cap)
