"""TiSASRec: attention with the time intervals between interactions."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.seqrec.mixers.base import Context, MixerSettings, Shape
from okml.seqrec.mixers.heads import MultiHead
from okml.seqrec.mixers.masks import places, visible
from okml.settings import Count

NEVER = 2**62  # s, longer than any gap


class TiSASRecSettings(MixerSettings):
    """Li, Wang and McAuley (2020), equations 6-10."""

    kind: Literal["tisasrec"] = "tisasrec"
    intervals: Count = 256  # longest relative interval, K


class TiSASRec(MultiHead):
    """Attention whose keys and values add vectors of the pair's interval and the key's position.

    Queries are multiplied with the vectors of all intervals before the look-up,
    ``[b, h, n, K + 1]`` instead of ``[b, n, n, d]``; weights are summed for each interval before
    the product with its value.
    """

    needs_times = True

    def __init__(self, settings: TiSASRecSettings, shape: Shape) -> None:
        super().__init__(shape)
        self.limit = settings.intervals
        self.key_interval = nn.Embedding(settings.intervals + 1, shape.width)
        self.value_interval = nn.Embedding(settings.intervals + 1, shape.width)
        self.key_position = nn.Embedding(shape.length, shape.width)
        self.value_position = nn.Embedding(shape.length, shape.width)

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]``.

        Raises:
            ValueError: If the context has no times.
        """
        if context.times is None:
            raise ValueError("TiSASRec needs the times of the interactions")
        n, causal = tokens.shape[1], self.shape.causal
        place = places(context, n, self.shape.length, tokens.device)
        q = self.heads(self.query(tokens))  # [b, h, n, d_h]
        k = self.heads(self.key(tokens) + self.key_position(place))
        v = self.heads(self.value(tokens) + self.value_position(place))
        apart = relative_intervals(context.times, context.padding, causal, self.limit)
        apart = apart[:, None].expand(-1, self.shape.heads, -1, -1)  # [b, h, n, n]

        by_interval = q @ self._table(self.key_interval).transpose(-1, -2)  # [b, h, n, K + 1]
        logits = q @ k.transpose(-1, -2) + by_interval.gather(-1, apart)
        logits = logits / self.shape.head_width**0.5
        allowed = visible(context, causal, n, tokens.device)
        if allowed is not None:
            logits = logits.masked_fill(~allowed, -torch.inf)
        weights = functional.dropout(logits.softmax(-1), self.shape.dropout, self.training)
        sums = torch.zeros_like(by_interval, dtype=weights.dtype).scatter_add(-1, apart, weights)
        return self.merge(weights.to(v.dtype) @ v + sums @ self._table(self.value_interval))

    def _table(self, vectors: nn.Embedding) -> Tensor:
        """Split the vectors of the intervals into heads, ``[h, K + 1, d_h]``."""
        return self.heads(vectors.weight)

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of projections, and of products with tokens and intervals."""
        mixed = 4 * queries * (keys + self.limit + 1) * self.shape.width
        return self.projection_flops(keys, queries) + mixed


def relative_intervals(times: Tensor, padding: Tensor | None, causal: bool, limit: int) -> Tensor:
    """Return the times between interactions in units of the user's smallest positive gap.

    The authors take that gap over the whole log of the user, including the future. If causal, the
    unit of a row is the smallest gap up to it.

    Args:
        times: Times in ascending order, int64 seconds ``[b, n]``.
        padding: Bool ``[b, n]``, true at padding, whose times are ignored; None without padding.
        causal: Whether row ``i`` may depend only on the times up to ``i``.
        limit: The largest interval; longer ones are clipped.

    Returns:
        int64 ``[b, n, n]``, from 0 to ``limit``.
    """
    gaps = times.diff(dim=1)  # [b, n - 1]
    ignored = gaps == 0
    if padding is not None:
        ignored = ignored | padding[:, 1:] | padding[:, :-1]
    never = torch.full_like(times[:, :1], NEVER)
    gaps = torch.cat([never, gaps.abs().masked_fill(ignored, NEVER)], 1)  # [b, n]
    unit = gaps.cummin(1).values if causal else gaps.amin(1, keepdim=True)
    apart = (times[:, :, None] - times[:, None, :]).abs()
    return (apart // unit[:, :, None]).clamp_max(limit)
