"""The embedding of items and positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from okml.seqrec.dropout import Dropout


class SequenceEmbedding(nn.Module):
    """Item vector plus a learned vector of the position, then (optionally) a norm, then dropout.

    Positions count from the end of the history: the newest item has the position ``length - 1``
    for every length of the history and either side of the padding.

    Args:
        items: Number of items, numbered from 1.
        length: Number of items of the longest history.
        width: The width of a token, ``d``.
        dropout: The dropout probability of the tokens.
        norm: The norm of the sum; None for no norm.
        scale: Factor of the item vector (SASRec multiplies by the root of the width).
        positions: Whether to add position vectors.
    """

    def __init__(
        self,
        items: int,
        length: int,
        width: int,
        *,
        dropout: float = 0.0,
        norm: nn.Module | None = None,
        scale: float = 1.0,
        positions: bool = True,
    ) -> None:
        super().__init__()
        self.item = nn.Embedding(items + 1, width, padding_idx=0)
        self.position = nn.Embedding(length, width) if positions else None
        self.norm = norm if norm is not None else nn.Identity()
        self.dropout = Dropout(dropout)
        self.scale = scale
        self.length = length

    def forward(self, items: Tensor, padded: bool = True) -> Tensor:
        """Return the tokens ``[b, n, d]`` of ``items`` ``[b, n]``."""
        tokens = self.item(items) * self.scale
        if self.position is not None:
            n = items.shape[1]
            if padded:
                places = from_the_end(items, self.length)  # [b, n]
            else:
                places = torch.arange(self.length - n, self.length, device=items.device)  # [n]
            tokens = tokens + self.position(places)
        return self.dropout(self.norm(tokens))  # type: ignore[no-any-return]


def from_the_end(items: Tensor, length: int) -> Tensor:
    """Return positions such that each history's last item has ``length - 1``; padding has 0."""
    real = items != 0
    places = length - real.sum(1, keepdim=True) + real.cumsum(1) - 1
    return places.clamp_min(0) * real
