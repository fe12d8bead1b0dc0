"""The soft mask of stage 1: a bias of the attention logits in place of a hard sample.

The paper multiplies a mask over keys with one over queries (Eq. 9-12). The mask over queries has
no effect: a query outside of the sample is hidden as a key of the next layer, and a common factor
of a row does not change its softmax. So one bias for each key is enough.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from okml.settings import Positive, Real, Settings
from okml.strec.sampler import LAST

FLOOR = -30.0  # lower bound of the soft bias, a factor of e^-30 of the weight
RELEASED_SHARPNESS, RELEASED_INFINITY = 100.0, 1e8


class RelaxationSettings(Settings):
    """The settings of the soft mask, through which stage 1 trains the scores."""

    # soft: log sigmoid((s - τ) / T). released: (sigmoid(100 (s - τ)) - 1) · 1e8, as in the
    # authors' code.
    estimator: Literal["soft", "released"] = "soft"
    temperature: Positive = 0.3  # T
    # α of each layer, for fixed thresholds -α in standard deviations; None: thresholds that keep
    # the schedule's number of items. The authors' code has fixed ones, so the numbers of items in
    # its two stages differ.
    shifts: tuple[Real, ...] | None = None


# α_1 to α_8 of the authors' code.
RELEASED_SHIFTS = (-0.2, -0.2, -0.3, -0.3, -0.5, -0.5, -0.7, -0.7)


def key_bias(scores: Tensor, layer: int, count: int, settings: RelaxationSettings) -> Tensor:
    """Return the bias of the keys in the layer after layer ``layer``.

    Args:
        scores: The scores of :class:`~okml.strec.sampler.Sampler`, float32 ``[b, n]``.
        layer: The index of the layer from 0, which selects from ``settings.shifts``.
        count: The number of items that the schedule keeps.
        settings: The settings of the soft mask.

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
    return torch.where(scores >= LAST, 0.0, bias)


def soft_threshold(scores: Tensor, count: int) -> Tensor:
    """Return τ ``[b, 1]``, the mean of the ``count``-th and the next score, without gradient."""
    n = scores.shape[1]
    if count >= n:
        return scores.detach().amin(1, keepdim=True) - LAST
    ranked = scores.detach().topk(count + 1, dim=1).values
    inside, outside = ranked[:, count - 1], ranked[:, count]
    return ((inside + outside) / 2)[:, None]
