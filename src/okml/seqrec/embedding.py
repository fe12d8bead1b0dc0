"""The embedding of items and positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from okml.seqrec.dropout import Dropout
from okml.seqrec.settings import BackboneSettings


class SequenceEmbedding(nn.Module):
    """Item vector plus a learned vector of the position, then (optionally) a norm, then dropout.

    Positions count from the end of the history: the newest item has the position ``length - 1``
    for every length of the history and either side of the padding.

    Args:
        items: Number of items, numbered from 1.
        settings: The settings of the backbone.
    """

    def __init__(self, items: int, settings: BackboneSettings) -> None:
        super().__init__()
        width = settings.width
        self.item = nn.Embedding(items + 1, width, padding_idx=0)
        self.position = nn.Embedding(settings.length, width)
        self.norm = (
            nn.LayerNorm(width, eps=settings.norm_epsilon)
            if settings.embedding_norm
            else nn.Identity()
        )
        self.dropout = Dropout(settings.dropout)
        self.scale = width**0.5 if settings.scale_embedding else 1.0
        self.length = settings.length

    def forward(self, items: Tensor, padded: bool = True) -> Tensor:
        """Return the tokens ``[b, n, d]`` of ``items`` ``[b, n]``."""
        if padded:  # the last item has the position length - 1, padding 0
            real = items != 0
            places = self.length - real.sum(1, keepdim=True) + real.cumsum(1) - 1
            places = places.clamp_min(0) * real  # [b, n]
        else:
            places = torch.arange(self.length - items.shape[1], self.length, device=items.device)
        tokens = self.item(items) * self.scale + self.position(places)
        return self.dropout(self.norm(tokens))  # type: ignore[no-any-return]
