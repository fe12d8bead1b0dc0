"""Measures by nearest neighbours: is it real-looking, is all there, is it copied?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Support(NamedTuple):
    """Shares in [0, 1]."""

    precision: float  # generated images that lie among the real ones
    recall: float  # real images that lie among the generated ones
    coverage: float  # real images with a generated one in their neighbourhood


def support(
    real: Tensor, generated: Tensor, k: int = 3, around_real: Tensor | None = None
) -> Support:
    """Return how two sets of features overlap.

    Precision and recall are those of Kynkäänniemi et al. (2019): a point lies among a set if it
    is within the k-th neighbour distance of one of its points. Coverage is that of Naeem et al.
    (2020).

    Args:
        real: ``[n, d]``.
        generated: ``[m, d]``.
        k: The number of neighbours that make a neighbourhood.
        around_real: The radius of each real point, ``[n]``; None: computed here.
    """
    between = torch.cdist(real, generated)  # [n, m]
    if around_real is None:
        around_real = radius(real, k)
    around_generated = radius(generated, k)  # [m]
    inside_real = between <= around_real[:, None]
    return Support(
        precision=float(inside_real.any(0).float().mean()),
        recall=float((between <= around_generated).any(1).float().mean()),
        coverage=float(inside_real.any(1).float().mean()),
    )


def nearest(images: Tensor, training: Tensor, chunk: int = 1000) -> tuple[Tensor, Tensor]:
    """Return for each image its nearest training image.

    Args:
        images: ``[n, c, s, s]``.
        training: ``[m, c, s, s]``.
        chunk: Images compared at a time.

    Returns:
        Root mean square difference of pixels, ``[n]``, and the row in ``training``, ``[n]``.
    """
    flat = training.flatten(1)
    found = [torch.cdist(part.flatten(1), flat).min(1) for part in torch.split(images, chunk)]
    distance = torch.cat([part.values for part in found]) / flat.shape[1] ** 0.5
    return distance, torch.cat([part.indices for part in found])


def copy_limit(held_out: Tensor, training: Tensor) -> Tensor:
    """Return the distance to a training image below which an image counts as copied.

    It is the smallest twentieth of the distances of real unseen images. So a generator that has
    learned the distribution and copied nothing has a share of about 0.05 below it, and one that
    replays its training images has everything there.
    """
    return torch.quantile(nearest(held_out, training)[0], 0.05)


def radius(points: Tensor, k: int = 3) -> Tensor:
    """Return the distance of each point to its k-th neighbour, itself not counted, ``[n]``."""
    return torch.cdist(points, points).kthvalue(k + 1, dim=1).values
