"""Lloyd's k-means in a few lines of torch, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from okml.errors import ParameterError
from okml.video_workshop.items.quantization.base import nearest


def kmeans(x: Tensor, clusters: int, iterations: int, generator: torch.Generator) -> Tensor:
    """Return the centers ``[K, d]`` after Lloyd's iterations from a k-means++ start.

    An empty cluster is moved to the vector that is farthest from its center, so
    none stays empty while there are as many distinct vectors as clusters.

    Args:
        x: Vectors, ``[N, d]``.
        clusters: Number of clusters K.
        iterations: Largest number of iterations; fewer run if no vector changes its cluster.
        generator: Random generator of the k-means++ start, on the CPU.

    Raises:
        ParameterError: If there are fewer vectors than clusters.
    """
    if len(x) < clusters:
        raise ParameterError(
            f"{len(x):,} vectors cannot have {clusters:,} clusters.", "Ask for fewer codes."
        )
    centers = _spread_start(x, clusters, generator)
    before = None
    for _ in range(iterations):
        owner = nearest(x, centers)  # [N]
        if before is not None and torch.equal(owner, before):
            break
        before = owner
        centers = _means(x, owner, centers)
    return centers


def _spread_start(x: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Draw the first centers among the vectors, each by its squared distance (k-means++)."""
    first = int(torch.randint(len(x), (1,), generator=generator))
    centers = [x[first]]
    distance = (x - x[first]).square().sum(1)  # [N], to the nearest center so far
    for _ in range(clusters - 1):
        # The constant keeps the draw defined when all vectors coincide with a center.
        weights = distance.double().cpu() + 1e-12
        # Inverse transform sampling, because torch.multinomial is limited to 2^24 vectors.
        total = weights.cumsum(0)
        drawn = torch.rand(1, generator=generator, dtype=torch.float64) * total[-1]
        place = int(torch.searchsorted(total, drawn).clamp_max(len(x) - 1))
        centers.append(x[place])
        distance = torch.minimum(distance, (x - x[place]).square().sum(1))
    return torch.stack(centers)


def _means(x: Tensor, owner: Tensor, centers: Tensor) -> Tensor:
    """Return the mean of each cluster, ``[K, d]``; empty ones start again far from the others."""
    count = torch.bincount(owner, minlength=len(centers))
    sums = torch.zeros_like(centers).index_add_(0, owner, x)
    means = sums / count.clamp_min(1)[:, None]
    empty = (count == 0).nonzero()[:, 0]
    if len(empty):
        distance = (x - means[owner]).square().sum(1)
        means[empty] = x[distance.topk(len(empty)).indices]
    return means
