"""How different images of one class are."""

from __future__ import annotations

import torch
from torch import Tensor


def spread_within_classes(images: Tensor, labels: Tensor) -> float:
    """Return the standard deviation of pixels between images of a class, mean over the classes.

    A generator that paints the mean of each class has none.

    Args:
        images: ``[n, c, s, s]``.
        labels: The class each was asked to show, ``[n]``.
    """
    spreads = []
    for label in torch.unique(labels):
        members = images[labels == label]
        if len(members) > 1:
            spreads.append(members.std(0).mean())
    return float(torch.stack(spreads).mean())
