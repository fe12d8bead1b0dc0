"""TiSASRec: attention with the time intervals between interactions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.seqrec.mixers.base import Context, MultiHead, Shape

NEVER = 2**62  # s, longer than any gap


class TiSASRec(MultiHead):
    """Attention whose keys and values add vectors of the pair's interval and the key's position.

    Li, Wang and McAuley (2020), equations 6-10, bidirectional. Queries are multiplied with the
    vectors of all intervals before the look-up, ``[b, h, n, K + 1]`` instead of ``[b, n, n, d]``;
    weights are summed for each interval before the product with its value.

    Args:
        shape: The sizes and options of the backbone.
        intervals: The longest relative interval, ``K``.
    """

    supports_masks = False
    needs_times = True

    def __init__(self, shape: Shape, intervals: int = 256) -> None:
        super().__init__(shape)
        self.limit = intervals
        self.key_interval = nn.Embedding(intervals + 1, shape.width)
        self.value_interval = nn.Embedding(intervals + 1, shape.width)
        self.key_position = nn.Embedding(shape.length, shape.width)
        self.value_position = nn.Embedding(shape.length, shape.width)

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]``.

        Raises:
            ValueError: If the context has no times.
        """
        if context.times is None:
            raise ValueError("TiSASRec needs the times of the interactions")
        length = self.shape.length
        place = torch.arange(length - tokens.shape[1], length, device=tokens.device)
        q = self.heads(self.query(tokens))  # [b, h, n, d_h]
        k = self.heads(self.key(tokens) + self.key_position(place))
        v = self.heads(self.value(tokens) + self.value_position(place))
        apart = relative_intervals(context.times, self.limit)
        apart = apart[:, None].expand(-1, self.shape.heads, -1, -1)  # [b, h, n, n]

        by_interval = q @ self._table(self.key_interval).transpose(-1, -2)  # [b, h, n, K + 1]
        logits = q @ k.transpose(-1, -2) + by_interval.gather(-1, apart)
        weights = (logits / self.shape.head_width**0.5).softmax(-1)
        weights = functional.dropout(weights, self.shape.dropout, self.training)
        sums = torch.zeros_like(by_interval, dtype=weights.dtype).scatter_add(-1, apart, weights)
        return self.merge(weights.to(v.dtype) @ v + sums @ self._table(self.value_interval))

    def _table(self, vectors: nn.Embedding) -> Tensor:
        """Split the vectors of the intervals into heads, ``[h, K + 1, d_h]``."""
        return self.heads(vectors.weight)

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of projections, and of products with tokens and intervals."""
        mixed = 4 * queries * (keys + self.limit + 1) * self.shape.width
        return self.projection_flops(keys, queries) + mixed


def relative_intervals(times: Tensor, limit: int) -> Tensor:
    """Return the times between interactions in units of the history's smallest positive gap.

    The authors take that gap over the whole log of the user, including the future.

    Args:
        times: Times in ascending order, int64 seconds ``[b, n]``.
        limit: The largest interval; longer ones are clipped.

    Returns:
        int64 ``[b, n, n]``, from 0 to ``limit``.
    """
    gaps = times.diff(dim=1, prepend=times[:, :1])  # [b, n]
    unit = gaps.masked_fill(gaps == 0, NEVER).amin(1)  # [b]
    apart = (times[:, :, None] - times[:, None, :]).abs()
    return (apart // unit[:, None, None]).clamp_max(limit)
