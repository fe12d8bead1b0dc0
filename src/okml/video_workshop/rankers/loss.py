"""The multi-task loss, each task over the examples of its label space."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional


def multitask_loss(
    logits: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    spaces: Mapping[str, Tensor],
    weights: Mapping[str, float] | None = None,
) -> dict[str, Tensor]:
    """Return the mean cross-entropy of each task, and ``loss``, their weighted sum.

    A task without an example in a batch has loss 0 and no gradient.

    Args:
        logits: Logits of each task, any shape.
        labels: Labels in [0, 1] of the same shape, finite everywhere; a fraction is a soft label.
        spaces: Mask of the examples of each task; watching, for example, is defined for clicked
            items only.
        weights: Weights of the tasks; None: all 1.
    """
    found = {}
    for task, logit in logits.items():
        each = functional.binary_cross_entropy_with_logits(logit, labels[task], reduction="none")
        inside = spaces[task]
        found[task] = torch.where(inside, each, 0.0).sum() / inside.sum().clamp_min(1)
    total = sum((weights or {}).get(task, 1.0) * loss for task, loss in found.items())
    return {"loss": torch.as_tensor(total), **found}
