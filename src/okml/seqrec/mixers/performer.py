"""Performer: softmax attention estimated with positive random features."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from okml.seqrec.losses.base import wide
from okml.seqrec.mixers.base import Context, QueryMixer, Shape

# Lower bound of a sum of weights. It only matters if the features of a query underflow with those
# of all keys; its inverse occurs in the gradient and must not overflow.
FLOOR = 1e-20


class Performer(QueryMixer):
    """Linear attention with ``phi(x) = exp(w x - |x|^2 / 2) / sqrt(m)``, ``w`` orthogonal normal.

    FAVOR+ of Choromanski et al. (2021). ``phi(q) phi(k)`` is an unbiased estimate of ``exp(q k)``.
    Features and sums use 32 bits, since bfloat16 is too imprecise for exponentials.

    Args:
        shape: The sizes and options of the backbone.
        features: The number of random features, ``m``.
    """

    supports_masks = False
    directions: Tensor

    def __init__(self, shape: Shape, features: int = 64) -> None:
        super().__init__(shape)
        self.features = features
        self.register_buffer("directions", torch.empty(features, shape.head_width))
        self.initialize()

    def forward(self, tokens: Tensor, context: Context, queries: Tensor | None = None) -> Tensor:
        """Mix ``tokens`` into ``queries``."""
        q, k, v = self.project(tokens, queries)  # [b, h, k, d_h], [b, h, n, d_h]
        with torch.autocast(tokens.device.type, enabled=False):
            q, k = self._exponents(q), self._exponents(k)  # [b, h, n, m]
            # Subtract the maximum for stability: one number for each query, and one for all keys
            # of a head, which cancels between numerator and denominator.
            q = (q - q.amax(-1, keepdim=True).detach()).exp()
            k = (k - k.amax((-2, -1), keepdim=True).detach()).exp()
            ones = torch.ones_like(v[..., :1], dtype=k.dtype)
            mixed = q @ (k.mT @ torch.cat([v.to(k.dtype), ones], -1))
            mixed = mixed[..., :-1] / mixed[..., -1:].clamp_min(FLOOR)
        return self.merge(mixed.to(v.dtype))

    def _exponents(self, x: Tensor) -> Tensor:
        """Return ``w x - |x|^2 / 2`` of ``x`` divided by ``d_h^(1/4)``, ``[b, h, n, m]``."""
        x = wide(x) / self.shape.head_width**0.25
        projected = x @ self.directions.to(x.dtype).T
        return projected - x.square().sum(-1, keepdim=True) / 2

    def initialize(self) -> None:
        """Draw directions, orthogonal in groups of ``d_h``, with norms of Gaussian vectors."""
        width = self.shape.head_width
        groups = math.ceil(self.features / width)
        # With the signs, the matrices are Haar-distributed (Mezzadri, 2007); the factor Q alone is
        # not uniform, and the estimate would be biased.
        q, r = torch.linalg.qr(torch.randn(groups, width, width))
        signs = r.diagonal(dim1=-2, dim2=-1).sign()  # [groups, d_h], of the columns
        orthogonal = (q * signs[:, None]).flatten(0, 1)[: self.features]
        norms = torch.randn(self.features, width).norm(dim=1, keepdim=True)
        self.directions.copy_(orthogonal * norms)

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of projections, features and linear attention.

        The sum of weights counts as one more value.
        """
        width, heads = self.shape.head_width, self.shape.heads
        inner = 2 * (keys + queries) * self.features * (2 * width + 1)
        return self.projection_flops(keys, queries) + heads * inner
