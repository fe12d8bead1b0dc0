"""The interface of sequence encoders."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from okml.seqrec.mixers.base import PaddingSide


class Encoder(nn.Module, ABC):
    """Maps a history to vectors whose products with item vectors are the items' scores.

    Items are numbered from 1; 0 is padding, on the side ``padding_side``.
    """

    padding_side: PaddingSide = "left"

    @abstractmethod
    def forward(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return a vector for each position.

        Args:
            items: The items of the histories, ``[b, n]``.
            times: Times in seconds, int64 ``[b, n]``; required by encoders that use time.
            padded: Whether some items may be 0; False allows kernels without a mask.

        Returns:
            ``[b, n, d]``; if the encoder is causal, vector ``i`` depends on items up to ``i``.
        """

    def last(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return the vector after the whole history, ``[b, d]``."""
        return read_last(self(items, times, padded), items, self.padding_side)

    @abstractmethod
    def item_matrix(self) -> Tensor:
        """Return the item vectors of the scores, ``[items + 1, d]``; row 0 is padding."""

    @abstractmethod
    def flops(self, length: int) -> int:
        """Return the floating-point operations of :meth:`last` for one full history.

        A multiply-add counts as two.
        """


def read_last(hidden: Tensor, items: Tensor, padding_side: PaddingSide) -> Tensor:
    """Return the rows of ``hidden`` ``[b, n, d]`` at the last item of each history, ``[b, d]``."""
    if padding_side == "left":
        return hidden[:, -1]
    last = ((items != 0).sum(1) - 1).clamp_min(0)  # [b]
    return hidden[torch.arange(len(hidden), device=hidden.device), last]
