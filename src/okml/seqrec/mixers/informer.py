"""Informer: only queries with peaked attention weights attend; the others take the mean."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from okml.seqrec.losses.base import wide
from okml.seqrec.mixers.base import Context, MultiHead, Shape


class Informer(MultiHead):
    """ProbSparse attention of the encoder, Zhou et al. (2021), algorithm 1.

    The queries with the most peaked weights, by a sample of keys, attend to all keys; the others
    take the mean of the values. Queries are ranked among all queries of the sequence.

    Args:
        shape: The sizes and options of the backbone.
        factor: The paper's ``c``, with ``c ln(n)`` sampled keys for each query and ``c ln(n)``
            active queries.
    """

    supports_masks = False
    sample: Tensor

    def __init__(self, shape: Shape, factor: int = 5) -> None:
        super().__init__(shape)
        self.factor = factor
        self.register_buffer("sample", torch.empty(shape.length, self._some(shape.length)))
        self.initialize()

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]``."""
        n = tokens.shape[1]
        q, k, v = self.project(tokens)  # [b, h, n, d_h]
        chosen = self._peakedness(q, k).topk(self._some(n), dim=-1).indices  # [b, h, u]
        places = chosen[..., None].expand(-1, -1, -1, self.shape.head_width)
        peaked = functional.scaled_dot_product_attention(
            q.gather(2, places), k, v, dropout_p=self.active_dropout
        )
        lazy = v.mean(2, keepdim=True).expand_as(v)
        return self.merge(lazy.to(v.dtype).scatter(2, places, peaked))

    def sampled_keys(self, n: int) -> Tensor:
        """Return the sampled keys of each query, ``[n, c ln(n)]``, with replacement."""
        uniform = torch.rand_like(self.sample) if self.training else self.sample
        return (uniform[:n, : self._some(n)] * n).long().clamp_max(n - 1)

    def _peakedness(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the maximum minus the mean of the sampled logits, ``[b, h, n]``.

        The sum is divided by ``n``, not by the number of samples, as in the authors' code.
        """
        n = q.shape[2]
        keys = k[:, :, self.sampled_keys(n)]  # [b, h, n, U, d_h]
        logits = wide((keys @ q[..., None]).squeeze(-1))  # [b, h, n, U]
        return logits.amax(-1) - logits.sum(-1) / n

    def _some(self, n: int) -> int:
        return min(n, max(1, self.factor * math.ceil(math.log(n))))

    def initialize(self) -> None:
        """Draw uniform numbers, from which the keys follow once the length is known."""
        self.sample.copy_(torch.rand(self.sample.shape))

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of projections, sampled logits and the active queries."""
        some = self._some(keys)
        attended = 2 * queries * some * self.shape.width + 4 * some * keys * self.shape.width
        return self.projection_flops(keys, queries) + attended
