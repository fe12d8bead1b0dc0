"""Autoformer: values shifted by the lags with the highest correlation of queries and keys."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from okml.seqrec.losses.base import wide
from okml.seqrec.mixers.base import Context, MultiHead


class Autoformer(MultiHead):
    """Auto-correlation, Wu et al. (2021), section 3.2, without the series decomposition.

    The values are rolled by the ``ln(n)`` best lags and summed with the softmax of the lags'
    correlations as weights. In training the whole batch shares the lags of its highest mean
    correlation; in evaluation each sequence has its own.
    """

    supports_masks = False  # rolls are circular

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]``."""
        n = tokens.shape[1]
        scores = correlation(self.query(tokens), self.key(tokens))  # [b, n], a lag each
        ranked = scores.mean(0, keepdim=True).expand_as(scores) if self.training else scores
        lags = ranked.topk(self._kept(n), dim=-1).indices  # [b, l]
        weights = scores.gather(1, lags).softmax(-1)  # [b, l]
        v = self.value(tokens)
        place = torch.arange(n, device=v.device)
        mixed = torch.zeros_like(v)
        for lag, weight in zip(lags.unbind(1), weights.to(v.dtype).unbind(1), strict=True):
            shifted = (place + lag[:, None]) % n  # [b, n]
            rolled = v.gather(1, shifted[..., None].expand_as(v))
            mixed = mixed + weight[:, None, None] * rolled
        return self.output(mixed)  # type: ignore[no-any-return]

    def _kept(self, n: int) -> int:
        return min(n, max(1, int(math.log(n))))

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of projections, Fourier transforms, their product and the rolls.

        Each of the three real transforms takes 2.5 n log2 n operations; the inverse one is of a
        single channel, since the mean over channels precedes it.
        """
        d, frequencies = self.shape.width, keys // 2 + 1
        transforms = round(2.5 * keys * math.log2(keys) * (2 * d + 1))
        products = 8 * frequencies * d
        rolls = 2 * self._kept(keys) * keys * d
        return self.projection_flops(keys, queries) + transforms + products + rolls


def correlation(q: Tensor, k: Tensor) -> Tensor:
    """Return the mean over channels of the circular ``sum_t q[t + lag] k[t]`` for each lag.

    It is computed by the Wiener-Khinchin theorem in at least 32 bits, since Fourier transforms do
    not support bfloat16.

    Args:
        q: The queries, ``[b, n, d]``.
        k: The keys, ``[b, n, d]``.

    Returns:
        The correlation at each lag, ``[b, n]``.
    """
    with torch.autocast(q.device.type, enabled=False):
        a, b = (torch.view_as_real(torch.fft.rfft(wide(x), dim=1)) for x in (q, k))
        real = (a * b).sum(-1).mean(-1)  # [b, n / 2 + 1]
        imaginary = (a[..., 1] * b[..., 0] - a[..., 0] * b[..., 1]).mean(-1)
        scores: Tensor = torch.fft.irfft(torch.complex(real, imaginary), n=q.shape[1], dim=1)
        return scores
