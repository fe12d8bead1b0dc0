"""Linformer: attention to a fixed number of linear combinations of the tokens."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from okml.seqrec.mixers.base import Context, MixerSettings, QueryMixer, Shape
from okml.seqrec.mixers.heads import MultiHead
from okml.seqrec.mixers.masks import realign
from okml.settings import Count


class LinformerSettings(MixerSettings):
    """Wang et al. (2020), equation 7, the projections shared by the heads of a layer."""

    kind: Literal["linformer"] = "linformer"
    rank: Count = 20  # rows of the projections, such as 4 for 8 tokens, 64 for 200 and more


class Linformer(MultiHead, QueryMixer):
    """Keys and values are projected along the sequence from ``n`` to ``rank`` rows.

    Each row combines all positions, so the mixer cannot be causal. Positions count from the end of
    the history; a shorter history uses the last columns of the projection.
    """

    supports_causal = False

    def __init__(self, settings: LinformerSettings, shape: Shape) -> None:
        super().__init__(shape)
        self.rank = settings.rank
        self.key_rows = nn.Linear(shape.length, settings.rank)
        self.value_rows = nn.Linear(shape.length, settings.rank)

    def forward(self, tokens: Tensor, context: Context, queries: Tensor | None = None) -> Tensor:
        """Attend from ``queries`` (None for all tokens) to linear combinations of ``tokens``."""
        q = self.heads(self.query(tokens if queries is None else queries))  # [b, h, k, d_h]
        k = self.heads(self._shorten(self.key(tokens), self.key_rows, context))  # [b, h, r, d_h]
        v = self.heads(self._shorten(self.value(tokens), self.value_rows, context))
        mixed = functional.scaled_dot_product_attention(q, k, v, dropout_p=self.active_dropout)
        return self.merge(mixed)

    def _shorten(self, x: Tensor, rows: nn.Linear, context: Context) -> Tensor:
        """Project ``[b, n, d]`` to ``[b, r, d]``; padding counts as zero."""
        if context.padding is not None:
            x = realign(x.masked_fill(context.padding[..., None], 0.0), context)
        columns = rows.weight[:, -x.shape[1] :]  # [r, n]
        return functional.linear(x.transpose(1, 2), columns, rows.bias).transpose(1, 2)

    def initialize(self) -> None:
        """Draw the projections along the sequence by Xavier initialization."""
        for rows in (self.key_rows, self.value_rows):
            nn.init.xavier_normal_(rows.weight)

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of projections, and of four products of ``rank`` rows."""
        along = 4 * (keys + queries) * self.rank * self.shape.width
        return self.projection_flops(keys, queries) + along
