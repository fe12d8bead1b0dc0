"""RQ-KMeans: each codebook is a k-means of the residuals of the levels before."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from okml.video_workshop.items.quantization.base import Codes, ResidualQuantizer, nearest
from okml.video_workshop.items.quantization.kmeans import kmeans


class RQKMeans(ResidualQuantizer):
    """Residual k-means, which has no network to train and uses all its codes.

    OneRec found it to reconstruct better than an RQ-VAE (0.0410 against 0.0548, all codes used at
    three levels of 8,192), so it is the default here.

    Args:
        levels: Number of levels L.
        codes: Number of codes K of a level.
        width: Dimension d of the vectors.
        iterations: Largest number of Lloyd iterations of a level.
    """

    mean: Tensor  # [d]

    def __init__(self, levels: int, codes: int, width: int, iterations: int = 25) -> None:
        super().__init__(levels, codes, width)
        self.iterations = iterations
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("codebooks", torch.zeros(levels, codes, width))

    @torch.no_grad()
    def fit(self, x: Tensor, seed: int = 0) -> Self:
        """Fit the codebooks, coarse to fine.

        Args:
            x: Vectors ``[N, d]`` of the items that exist at the training cut only.
            seed: Random seed of the k-means++ starts.

        Raises:
            ParameterError: If there are fewer vectors than codes.
        """
        generator = torch.Generator().manual_seed(seed)
        self.mean.copy_(x.mean(0))
        residual = x - self.mean
        for level in range(self.levels):
            centers = kmeans(residual, self.codes, self.iterations, generator)
            self.codebooks[level] = centers
            residual = residual - centers[nearest(residual, centers)]
        return self

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        """Return the codes ``[N, L]`` of vectors ``[N, d]``."""
        return self.assign(x - self.mean)[0]

    def decode(self, codes: Codes) -> Tensor:
        """Return the mean plus the sum of code vectors, ``[N, d]``."""
        return self.mean + self.sum_of_codes(codes)
