"""The losses as their definitions read, one target at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def softmax(hidden: Tensor, items: Tensor, targets: Tensor) -> Tensor:
    """Mean of -log p over the targets that are not 0, over items 1 to V."""
    losses = []
    for h, target in zip(hidden.reshape(-1, hidden.shape[-1]), targets.flatten(), strict=True):
        if target != 0:
            exponentials = torch.stack([(h @ item).exp() for item in items[1:]])
            losses.append(-((h @ items[target]).exp() / exponentials.sum()).log())
    return torch.stack(losses).mean()


def sampled_softmax(
    hidden: Tensor, items: Tensor, targets: Tensor, negatives: Tensor, q: Tensor
) -> Tensor:
    """``hidden`` ``[r, d]``, ``negatives`` ``[r, k]``, probabilities ``q`` ``[V + 1]``."""
    losses = []
    for h, target, drawn in zip(hidden, targets, negatives, strict=True):
        positive = (h @ items[target]).exp()
        total = positive
        for item in drawn:
            if item != target:
                total = total + (h @ items[item]).exp() / (len(drawn) * q[item])
        losses.append(-(positive / total).log())
    return torch.stack(losses).mean()


def generalized_binary(
    hidden: Tensor, items: Tensor, targets: Tensor, negatives: Tensor, t: float
) -> Tensor:
    """By the probabilities themselves, in the precision of the inputs."""
    rate = negatives.shape[1] / (len(items) - 2)
    beta = rate * (t * (1 - 1 / rate) + 1 / rate)
    losses = []
    for h, target, drawn in zip(hidden, targets, negatives, strict=True):
        terms = [-(torch.sigmoid(h @ items[target]) ** beta).log()]
        terms += [-(1 - torch.sigmoid(h @ items[j])).log() for j in drawn if j != target]
        losses.append(torch.stack(terms).sum() / (1 + len(drawn)))
    return torch.stack(losses).mean()


def problem(rows: int = 7, count: int = 11, width: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Random float64 ``hidden``, ``items`` and ``targets`` that need gradients where real."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    items = torch.randn(count + 1, width, generator=generator, dtype=torch.float64)
    targets = torch.randint(1, count + 1, (rows,), generator=generator)
    return hidden.requires_grad_(), items.requires_grad_(), targets


def uniform_log_q(count: int) -> Tensor:
    return torch.full((count + 1,), -math.log(count), dtype=torch.float64)
