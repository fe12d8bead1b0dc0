"""HSTU: pointwise attention with a gate and a bias by time gaps."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.seqrec.mixers.base import Context, Mixer, Shape

RATIO = 0.301  # natural logarithm of the ratio of two bucket edges, as in the authors' code


class HSTU(Mixer):
    """``W (norm(A V) * U)`` with ``A = silu(Q K^T + bias) / length``.

    Zhai et al. (2024), section 3. It replaces attention and feed-forward network: use it in a
    backbone with ``hidden=None``. ``U``, ``V``, ``Q`` and ``K`` are SiLUs of projections;
    ``length`` is the backbone's, not that of the row. The heads share the bias: one number for
    the distance in positions and one for the bucket of the time gap between the two items. (The
    authors' code measures the gap from the item after the query.)

    Args:
        shape: The sizes and options of the backbone.
        buckets: The number of buckets of gaps, at most 140, which begins at e^42 s.
    """

    needs_times = True
    replaces_feed_forward = True
    edges: Tensor

    def __init__(self, shape: Shape, buckets: int = 128) -> None:
        super().__init__(shape)
        self.inner = nn.Linear(shape.width, 4 * shape.width)
        self.output = nn.Linear(shape.width, shape.width)
        self.position = nn.Parameter(torch.zeros(2 * shape.length - 1))
        self.time = nn.Parameter(torch.zeros(buckets))
        self.register_buffer("edges", bucket_edges(buckets), persistent=False)

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]``.

        Raises:
            ValueError: If the context has no times.
        """
        if context.times is None:
            raise ValueError("HSTU needs the times of the interactions")
        n = tokens.shape[1]
        gate, v, q, k = functional.silu(self.inner(tokens)).chunk(4, -1)  # [b, n, d]
        q, k, v = (self.heads(x) for x in (q, k, v))  # [b, h, n, d_h]
        weights = functional.silu(q @ k.transpose(-1, -2) + self._bias(context.times))
        weights = weights / self.shape.length  # [b, h, n, n]
        allowed = context.visible(self.shape.causal, n, tokens.device)
        if allowed is not None:
            weights = weights.masked_fill(~allowed, 0.0)
        weights = functional.dropout(weights, self.shape.dropout, self.training)
        mixed = (weights.to(v.dtype) @ v).transpose(1, 2).flatten(2)  # [b, n, d]
        mixed = functional.layer_norm(mixed, mixed.shape[-1:])
        return self.output(mixed * gate)  # type: ignore[no-any-return]

    def _bias(self, times: Tensor) -> Tensor:
        """Return the bias of the logits, ``[b, 1, n, n]``."""
        place = torch.arange(times.shape[1], device=times.device)
        by_position = self.position[place[:, None] - place + self.shape.length - 1]  # [n, n]
        gaps = (times[:, :, None] - times[:, None, :]).abs()  # [b, n, n]
        return by_position + self.time[torch.bucketize(gaps, self.edges, right=True)][:, None]

    def initialize(self) -> None:
        """Draw the biases, as the authors' code does."""
        for bias in (self.position, self.time):
            nn.init.normal_(bias, std=0.02)

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of five projections and two products of tokens with tokens."""
        d = self.shape.width
        return 8 * keys * d * d + 2 * queries * d * d + 4 * keys * queries * d


def bucket_edges(buckets: int) -> Tensor:
    """Return the smallest gap (int64 s) of each bucket but the first, ``[buckets - 1]``.

    A gap of ``g`` seconds is in the bucket ``floor(ln(max(g, 1)) / 0.301)``, or in the last one.
    Edges are compared with whole seconds, since a logarithm in 32 bits is inexact for years.
    """
    return torch.tensor(
        [math.ceil(math.exp(RATIO * k)) for k in range(1, buckets)], dtype=torch.int64
    )
