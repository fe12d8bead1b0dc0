"""HSTU: pointwise attention with a gate and a bias by time gaps."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from okml.seqrec.mixers.base import Context, Mixer, MixerSettings, Shape
from okml.seqrec.mixers.heads import split_heads
from okml.seqrec.mixers.masks import visible
from okml.settings import Count

RATIO = 0.301  # natural logarithm of the ratio of two bucket edges, as in the authors' code


class HSTUSettings(MixerSettings):
    """Zhai et al. (2024), section 3. It replaces attention and feed-forward network.

    Use it in a backbone with ``hidden=None``.
    """

    kind: Literal["hstu"] = "hstu"
    position_bias: bool = True
    time_bias: bool = True
    buckets: Count = Field(default=128, le=140)  # buckets of gaps; the 140th begins at e^42 s


class HSTU(Mixer):
    """``W (norm(A V) * U)`` with ``A = silu(Q K^T + bias) / length``.

    ``U``, ``V``, ``Q`` and ``K`` are SiLUs of projections; ``length`` is the backbone's, not that
    of the row. The heads share the bias: one number for the distance in positions and one for the
    bucket of the time gap between the two items. (The authors' code measures the gap from the item
    after the query.)
    """

    edges: Tensor

    def __init__(self, settings: HSTUSettings, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.needs_times = settings.time_bias
        self.inner = nn.Linear(shape.width, 4 * shape.width)
        self.output = nn.Linear(shape.width, shape.width)
        self.position = self.time = None
        if settings.position_bias:
            self.position = nn.Parameter(torch.zeros(2 * shape.length - 1))
        if settings.time_bias:
            self.time = nn.Parameter(torch.zeros(settings.buckets))
        self.register_buffer("edges", bucket_edges(settings.buckets), persistent=False)

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]``."""
        n = tokens.shape[1]
        gate, v, q, k = functional.silu(self.inner(tokens)).chunk(4, -1)  # [b, n, d]
        q, k, v = (split_heads(x, self.shape.heads) for x in (q, k, v))  # [b, h, n, d_h]
        weights = functional.silu(q @ k.transpose(-1, -2) + self._bias(n, context))
        weights = weights / self.shape.length  # [b, h, n, n]
        allowed = visible(context, self.shape.causal, n, tokens.device)
        if allowed is not None:
            weights = weights.masked_fill(~allowed, 0.0)
        weights = functional.dropout(weights, self.shape.dropout, self.training)
        mixed = (weights.to(v.dtype) @ v).transpose(1, 2).flatten(2)  # [b, n, d]
        mixed = functional.layer_norm(mixed, mixed.shape[-1:])
        return self.output(mixed * gate)  # type: ignore[no-any-return]

    def _bias(self, n: int, context: Context) -> Tensor | float:
        """Return the bias of the logits, which broadcasts to ``[b, h, n, n]``."""
        bias: Tensor | float = 0.0
        if self.position is not None:
            place = torch.arange(n, device=self.position.device)
            bias = bias + self.position[place[:, None] - place + self.shape.length - 1]  # [n, n]
        if self.time is not None and context.times is not None:
            gaps = (context.times[:, :, None] - context.times[:, None, :]).abs()  # [b, n, n]
            bias = bias + self.time[torch.bucketize(gaps, self.edges, right=True)][:, None]
        return bias

    def initialize(self) -> None:
        """Draw the biases, as the authors' code does."""
        for bias in (self.position, self.time):
            if bias is not None:
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
