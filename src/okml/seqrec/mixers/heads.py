"""The common projections of multi-head mixers."""

from __future__ import annotations

from torch import Tensor, nn

from okml.seqrec.mixers.base import Mixer, Shape


class MultiHead(Mixer):
    """A mixer with one projection each for queries, keys, values and the output."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.query = nn.Linear(shape.width, shape.width)
        self.key = nn.Linear(shape.width, shape.width)
        self.value = nn.Linear(shape.width, shape.width)
        self.output = nn.Linear(shape.width, shape.width)

    def project(
        self, tokens: Tensor, queries: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries ``[b, h, k, d_h]``, keys and values ``[b, h, n, d_h]``."""
        q = self.heads(self.query(tokens if queries is None else queries))
        return q, self.heads(self.key(tokens)), self.heads(self.value(tokens))

    def heads(self, x: Tensor) -> Tensor:
        """Split ``[b, n, d]`` into heads ``[b, h, n, d_h]``."""
        return split_heads(x, self.shape.heads)

    def merge(self, mixed: Tensor) -> Tensor:
        """Join the heads ``[b, h, k, d_h]`` and project them, ``[b, k, d]``."""
        return self.output(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    @property
    def active_dropout(self) -> float:
        """The current dropout probability of attention weights: 0 in evaluation."""
        return self.shape.dropout if self.training else 0.0

    def projection_flops(self, keys: int, queries: int) -> int:
        """Return the operations of the projections of read (keys) and computed tokens (queries)."""
        return 4 * (keys + queries) * self.shape.width**2


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Split ``[..., n, d]`` into heads ``[..., h, n, d_h]``."""
    return x.view(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(-3, -2)
