"""The soft sample of the first stage: a bias on the attention logits in place of a choice.

The paper multiplies a mask over keys with one over queries (Eq. 9-12). The mask over queries does
nothing: a query outside of the sample is hidden as a key of the next layer, and one factor for a
whole row leaves its softmax as it is. So one bias for each key is enough.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from okml.settings import Positive, Real, Settings
from okml.strec.sampler import LAST

Estimator = Literal["soft", "released", "straight_through"]

FLOOR = -30.0  # of the soft bias: e^-30 of the weight
RELEASED_SHARPNESS, RELEASED_INFINITY = 100.0, 1e8


class RelaxationSettings(Settings):
    """How the first stage lets a gradient reach the scores."""

    # soft: log sigmoid((s - τ) / T). straight_through: the hard choice forward, the gradient of
    # the soft one backward. released: (sigmoid(100 (s - τ)) - 1) · 1e8 as the authors' code.
    estimator: Estimator = "soft"
    temperature: Positive = 0.3  # T
    # Thresholds -α of each layer, in deviations, in place of those that keep the schedule's
    # number of items. The authors' code has these, so its two stages keep different numbers.
    shifts: tuple[Real, ...] | None = None


# α_1 to α_8 of the authors' code.
RELEASED_SHIFTS = (-0.2, -0.2, -0.3, -0.3, -0.5, -0.5, -0.7, -0.7)


def key_bias(scores: Tensor, layer: int, count: int, settings: RelaxationSettings) -> Tensor:
    """Return the bias for the keys that layer ``layer`` leaves to the next one.

    Args:
        scores: Of :class:`~okml.strec.sampler.Sampler`, float32 ``[b, n]``.
        layer: Counted from 0; chooses among ``settings.shifts``.
        count: How many items the schedule keeps.
        settings: How.

    Returns:
        Float32 ``[b, n]``, at most 0; exactly 0 for the newest item.
    """
    if settings.shifts is None:
        threshold = soft_threshold(scores, count)
    else:
        threshold = scores.new_full((1, 1), -settings.shifts[layer])
    distance = scores - threshold
    if settings.estimator == "released":
        kept = torch.sigmoid(RELEASED_SHARPNESS * distance)
        bias = (kept - 1) * RELEASED_INFINITY
    else:
        bias = functional.logsigmoid(distance / settings.temperature).clamp_min(FLOOR)
        if settings.estimator == "straight_through":
            hard = torch.where(distance > 0, 0.0, FLOOR)
            bias = hard + bias - bias.detach()
    return torch.where(scores >= LAST, 0.0, bias)


def soft_threshold(scores: Tensor, count: int) -> Tensor:
    """Return τ ``[b, 1]``, half-way between the ``count``-th and the next score; no gradient."""
    n = scores.shape[1]
    if count >= n:
        return scores.detach().amin(1, keepdim=True) - LAST
    ranked = scores.detach().topk(count + 1, dim=1).values
    inside, outside = ranked[:, count - 1], ranked[:, count]
    return ((inside + outside) / 2)[:, None]
