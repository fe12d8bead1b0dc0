"""How different images of one class are."""

from __future__ import annotations

import torch
from torch import Tensor


def spread_within_classes(images: Tensor, labels: Tensor) -> Tensor:
    """Return the standard deviation of pixels within a class, an image's part of it for each.

    The mean over the images is the spread: the standard deviation of each pixel between the
    images of a class, mean over pixels and classes. A generator that paints the mean of each
    class has none. An image's part is the spread with its influence on it added, so that the
    variance of the mean is that of the spread (the delta method).

    Args:
        images: ``[n, c, s, s]``.
        labels: The class each was asked to show, ``[n]``.

    Returns:
        ``[n]``; zeros in a class of one image.
    """
    parts, classes = torch.zeros(len(images), dtype=torch.float64), torch.unique(labels)
    for label in classes:
        members = images[labels == label].flatten(1).double()
        count = len(members)
        if count > 1:
            deviation = members.std(0)
            squares = (members - members.mean(0)) ** 2 * count / (count - 1)
            # sd + (square - sd^2) / 2 sd, whose mean is sd; a pixel that never changes has none.
            own = (deviation + squares / deviation.clamp_min(1e-12)) / 2
            weight = len(images) / (count * len(classes))
            parts[labels == label] = weight * own.mean(1)
    return parts
