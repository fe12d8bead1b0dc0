"""LinRec: linear attention with normalized features."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

from okml.seqrec.mixers.base import Context, MixerSettings, QueryMixer, Shape
from okml.seqrec.mixers.heads import MultiHead
from okml.seqrec.mixers.linear import linear_attention, linear_attention_flops


class LinRecSettings(MixerSettings):
    """Liu et al. (2023), as in the authors' code: both norms are per token."""

    kind: Literal["linrec"] = "linrec"


class LinRec(MultiHead, QueryMixer):
    """``f(q) (f(k)^T v) / sqrt(d_h)`` with ``f(x) = elu(x) / |elu(x)|``.

    There is no softmax and no normalization of weights. The authors' code neither masks padding
    nor is causal; here padding is masked, and the causal form sums up to the query.
    """

    def __init__(self, settings: LinRecSettings, shape: Shape) -> None:
        super().__init__(shape)

    def forward(self, tokens: Tensor, context: Context, queries: Tensor | None = None) -> Tensor:
        """Mix ``tokens`` into ``queries``."""
        causal = self.shape.causal and queries is None
        q, k, v = self.project(tokens, queries)  # [b, h, k, d_h], [b, h, n, d_h]
        q, k = features(q), features(k)
        if context.padding is not None:
            k = k.masked_fill(context.padding[:, None, :, None], 0.0)
        mixed = linear_attention(q, k, v.to(k.dtype), causal)
        return self.merge(mixed / self.shape.head_width**0.5)

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of projections and of linear attention in each head.

        The read-out of fewer tokens than are read has no causal mask.
        """
        width = self.shape.head_width
        causal = self.shape.causal and keys == queries
        heads = self.shape.heads * linear_attention_flops(keys, queries, width, width, causal)
        return self.projection_flops(keys, queries) + heads


def features(x: Tensor) -> Tensor:
    """Return the ELU of ``x``, scaled to unit length, ``[..., d_h]``."""
    return functional.normalize(functional.elu(x), dim=-1)
