"""The cheapest generator: one normal distribution of pixels for each class, without a network."""

from __future__ import annotations

import torch
from torch import Tensor

from okml.add.images import Images


def draw_gaussians(images: Images, labels: Tensor, seed: int) -> Tensor:
    """Draw from the normal distribution with the mean and the covariance of a class's images.

    A sum of the images' deviations from their mean, each weighted by an independent standard
    normal number, has that covariance exactly, and nothing has to be factorized.

    Args:
        images: The training images.
        labels: The class of each draw, ``[n]``.
        seed: The seed of the random weights.

    Returns:
        ``[n, c, s, s]``.
    """
    draws = torch.Generator().manual_seed(seed)
    drawn = torch.empty(len(labels), *images.pixels.shape[1:])
    for label in torch.unique(labels):
        asked = labels == label
        drawn[asked] = _draw(images.pixels[images.labels == label], int(asked.sum()), draws)
    return drawn


def _draw(pixels: Tensor, count: int, draws: torch.Generator) -> Tensor:
    mean = pixels.mean(0)
    weights = torch.randn(count, len(pixels), generator=draws) / max(1, len(pixels) - 1) ** 0.5
    drawn: Tensor = mean + (weights @ (pixels - mean).flatten(1)).reshape(count, *mean.shape)
    return drawn
