"""What every sequence encoder offers, whatever it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from okml.seqrec.mixers.base import PaddingSide


class Encoder(nn.Module, ABC):
    """Maps a history of items to vectors that are compared with the vectors of all items.

    Items are numbered from 1; 0 is padding, on the side ``padding_side``.
    """

    padding_side: PaddingSide = "left"

    @abstractmethod
    def forward(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return a vector for each position.

        Args:
            items: ``[b, n]``.
            times: Seconds, int64 ``[b, n]``; needed by encoders that use time.
            padded: False promises that no item is 0, which spares the kernels a mask.

        Returns:
            ``[b, n, d]``; row ``i`` has seen items up to ``i`` only if the encoder is causal.
        """

    def last(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return the vector after the whole history, ``[b, d]``."""
        return read_last(self(items, times, padded), items, self.padding_side)

    @abstractmethod
    def item_matrix(self) -> Tensor:
        """Return the vectors that scores are products with, ``[items + 1, d]``; 0 is padding."""

    @abstractmethod
    def flops(self, length: int) -> int:
        """Return the operations of :meth:`last` for one full history, two a multiply-add."""


def read_last(hidden: Tensor, items: Tensor, padding_side: PaddingSide) -> Tensor:
    """Return the rows of ``hidden`` ``[b, n, d]`` at the last item of each history, ``[b, d]``."""
    if padding_side == "left":
        return hidden[:, -1]
    last = ((items != 0).sum(1) - 1).clamp_min(0)  # [b]
    return hidden[torch.arange(len(hidden), device=hidden.device), last]
