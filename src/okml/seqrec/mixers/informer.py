"""Informer: only queries with peaked attention weights attend; the others take the mean."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from okml.seqrec.mixers.base import Context, MixerSettings, RandomMixer, Shape, widened
from okml.seqrec.mixers.heads import MultiHead
from okml.settings import Count


class InformerSettings(MixerSettings):
    """ProbSparse attention, Zhou et al. (2021), algorithm 1."""

    kind: Literal["informer"] = "informer"
    factor: Count = 5  # c, with c ln(n) sampled keys for each query and c ln(n) active queries
    # The authors' decoder: later keys are masked, and inactive queries take the sum of the values
    # up to them. The choice of active queries still depends on the whole sequence.
    masked: bool = False


class Informer(MultiHead, RandomMixer):
    """Attention of the queries with the most peaked weights, by a sample of keys, to all keys.

    Queries are ranked among all queries of the sequence, so the output of a position depends on
    later ones even with ``masked``, and the mixer is not causal. It does not support padding
    either, since the whole batch has the same number of active queries.
    """

    supports_causal = False
    supports_padding = False
    sample: Tensor

    def __init__(self, settings: InformerSettings, shape: Shape) -> None:
        super().__init__(shape)
        self.factor = settings.factor
        self.masked = settings.masked
        self.register_buffer("sample", torch.empty(shape.length, self._some(shape.length)))
        self.draw()

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]``."""
        n = tokens.shape[1]
        q, k, v = self.project(tokens)  # [b, h, n, d_h]
        chosen = self._peakedness(q, k).topk(self._some(n), dim=-1).indices  # [b, h, u]
        places = chosen[..., None].expand(-1, -1, -1, self.shape.head_width)
        earlier = None
        if self.masked:
            earlier = chosen[..., None] >= torch.arange(n, device=tokens.device)  # [b, h, u, n]
        peaked = functional.scaled_dot_product_attention(
            q.gather(2, places), k, v, attn_mask=earlier, dropout_p=self.active_dropout
        )
        lazy = v.cumsum(2) if self.masked else v.mean(2, keepdim=True).expand_as(v)
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
        logits = widened((keys @ q[..., None]).squeeze(-1))  # [b, h, n, U]
        return logits.amax(-1) - logits.sum(-1) / n

    def _some(self, n: int) -> int:
        return min(n, max(1, self.factor * math.ceil(math.log(n))))

    def draw(self, generator: torch.Generator | None = None) -> None:
        """Draw uniform numbers, from which the keys follow once the length is known."""
        self.sample.copy_(torch.rand(self.sample.shape, generator=generator))

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of projections, sampled logits and the active queries."""
        some = self._some(keys)
        attended = 2 * queries * some * self.shape.width + 4 * some * keys * self.shape.width
        return self.projection_flops(keys, queries) + attended
