"""LinRec: linear attention with normalized features."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from okml.seqrec.mixers.base import Context, QueryMixer


class LinRec(QueryMixer):
    """``f(q) (f(k)^T v) / sqrt(d_h)`` with ``f(x) = elu(x) / |elu(x)|``.

    Liu et al. (2023), as in the authors' code: both norms are per token, there is no softmax and
    no normalization of weights, and neither the future nor padding is masked.
    """

    supports_masks = False

    def forward(self, tokens: Tensor, context: Context, queries: Tensor | None = None) -> Tensor:
        """Mix ``tokens`` into ``queries``."""
        q, k, v = self.project(tokens, queries)  # [b, h, k, d_h], [b, h, n, d_h]
        q, k = features(q), features(k)
        mixed = q @ (k.mT @ v.to(k.dtype))
        return self.merge(mixed / self.shape.head_width**0.5)

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of projections and of two products of ``d_h`` rows."""
        products = 2 * (keys + queries) * self.shape.width * self.shape.head_width
        return self.projection_flops(keys, queries) + products


def features(x: Tensor) -> Tensor:
    """Return the ELU of ``x``, scaled to unit length, ``[..., d_h]``."""
    return functional.normalize(functional.elu(x), dim=-1)
