"""Linformer: attention to a fixed number of linear combinations of the tokens."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from okml.seqrec.mixers.base import Context, QueryMixer, Shape


class Linformer(QueryMixer):
    """Keys and values are projected along the sequence from ``n`` to ``rank`` rows.

    Wang et al. (2020), equation 7, the projections shared by the heads of a layer. Positions count
    from the end of the history; a shorter history uses the last columns of the projection.

    Args:
        shape: The sizes and options of the backbone.
        rank: The rows of the projections, such as 4 for 8 tokens, 64 for 200 and more.
    """

    supports_masks = False  # each row combines all positions

    def __init__(self, shape: Shape, rank: int = 20) -> None:
        super().__init__(shape)
        self.rank = rank
        self.key_rows = nn.Linear(shape.length, rank)
        self.value_rows = nn.Linear(shape.length, rank)

    def forward(self, tokens: Tensor, context: Context, queries: Tensor | None = None) -> Tensor:
        """Attend from ``queries`` to linear combinations of ``tokens``.

        The shapes are those of :class:`QueryMixer`.
        """
        q = self.heads(self.query(tokens if queries is None else queries))  # [b, h, k, d_h]
        k = self.heads(_shorten(self.key(tokens), self.key_rows))  # [b, h, r, d_h]
        v = self.heads(_shorten(self.value(tokens), self.value_rows))
        mixed = functional.scaled_dot_product_attention(q, k, v, dropout_p=self.active_dropout)
        return self.merge(mixed)

    def initialize(self) -> None:
        """Draw the projections along the sequence by Xavier initialization."""
        for rows in (self.key_rows, self.value_rows):
            nn.init.xavier_normal_(rows.weight)

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of projections, and of four products of ``rank`` rows."""
        along = 4 * (keys + queries) * self.rank * self.shape.width
        return self.projection_flops(keys, queries) + along


def _shorten(x: Tensor, rows: nn.Linear) -> Tensor:
    """Project ``[b, n, d]`` to ``[b, r, d]``."""
    columns = rows.weight[:, -x.shape[1] :]  # [r, n]
    return functional.linear(x.transpose(1, 2), columns, rows.bias).transpose(1, 2)
