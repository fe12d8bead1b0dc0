"""Differentiable augmentation of images before the feature network (DiffAugment).

The same random changes are applied to real and generated images, drawn independently, and the
gradient passes through them to the student.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from okml.add.settings import AugmentSettings


def augment(images: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Return images with changed colors, moved, and with a square blanked.

    Args:
        images: ``[B, C, H, W]``.
        settings: The strengths of the augmentations.
        generator: A generator on the device of ``images``.

    Returns:
        ``[B, C, H, W]``.
    """
    images = _colour(images, settings, generator)
    if settings.translation:
        images = _translate(images, settings.translation, generator)
    if settings.cutout:
        images = _cutout(images, settings.cutout, generator)
    return images


def _colour(images: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    if settings.brightness:
        images = images + settings.brightness * _uniform(images, generator)
    if settings.saturation and images.shape[1] > 1:
        grey = images.mean(1, keepdim=True)
        images = grey + (1 + settings.saturation * _uniform(images, generator)) * (images - grey)
    if settings.contrast:
        mean = images.mean((1, 2, 3), keepdim=True)
        images = mean + (1 + settings.contrast * _uniform(images, generator)) * (images - mean)
    return images


def _translate(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Shift by whole pixels, up to ``share`` of a side, with zero padding."""
    batch, _, height, width = images.shape
    rows = _shifted(height, share, batch, images.device, generator)  # [B, H]
    columns = _shifted(width, share, batch, images.device, generator)  # [B, W]
    framed = functional.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)  # [B, H + 2, W + 2, C]
    example = torch.arange(batch, device=images.device)[:, None, None]
    return framed[example, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _shifted(
    side: int, share: float, batch: int, device: torch.device, generator: torch.Generator
) -> Tensor:
    """Return where each pixel of a side comes from in a framed image, ``[B, n]``."""
    limit = int(side * share + 0.5)
    shift = torch.randint(-limit, limit + 1, (batch, 1), device=device, generator=generator)
    return (torch.arange(side, device=device) + shift + 1).clamp(0, side + 1)


def _cutout(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Blank a square whose centre lies anywhere in the image."""
    batch, _, height, width = images.shape
    inside = _near_centre(height, share, batch, images.device, generator)[:, :, None]
    inside = inside & _near_centre(width, share, batch, images.device, generator)[:, None, :]
    return images * ~inside[:, None]


def _near_centre(
    side: int, share: float, batch: int, device: torch.device, generator: torch.Generator
) -> Tensor:
    """Return which pixels of a side lie in an interval of ``share``, ``[B, n]``."""
    length = int(side * share + 0.5)
    start = torch.randint(side + 1, (batch, 1), device=device, generator=generator) - length // 2
    place = torch.arange(side, device=device)
    return (place >= start) & (place < start + length)


def _uniform(images: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one number in [-1, 1) for each example, ``[B, 1, 1, 1]``."""
    shape = (len(images), 1, 1, 1)
    return 2 * torch.rand(shape, device=images.device, generator=generator) - 1
