"""The interface of token mixers: the part of a block that combines positions of a sequence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

PaddingSide = Literal["left", "right"]


@dataclass(frozen=True)
class Shape:
    """The sizes and options that all mixers of a backbone share.

    Attributes:
        length: Number of items of the longest sequence.
        width: The width of a token, ``d``.
        heads: Number of attention heads, a divisor of ``width``.
        causal: Whether a position may see only itself and earlier ones.
        dropout: Dropout probability of attention weights in training; mixers that do not form
            weights ignore it.
    """

    length: int
    width: int
    heads: int
    causal: bool
    dropout: float = 0.0

    @property
    def head_width(self) -> int:
        """The width of one head, ``d_h``."""
        return self.width // self.heads


@dataclass(frozen=True)
class Context:
    """The additional input of a mixer.

    Attributes:
        padding: Bool ``[b, n]``, true at padding; None without padding, so that the fast kernels
            need no mask.
        padding_side: The side of the padding; a causal mask already hides padding on the right.
        times: The times of the interactions, int64 seconds ``[b, n]``; None if not given.
        key_bias: A bias added to all logits of a key, ``[b, n]``.
    """

    padding: Tensor | None = None
    padding_side: PaddingSide = "left"
    times: Tensor | None = None
    key_bias: Tensor | None = None

    def visible(self, causal: bool, n: int, device: torch.device) -> Tensor | None:
        """Return the mask of the keys that each of ``n`` queries may see; None for no restriction.

        Returns:
            Bool, true where a query may see a key; it broadcasts to ``[b, h, n, n]``. In a causal
            mask a token always sees itself, so that the row of a padded token is not empty (and
            NaN).
        """
        # A causal mask already hides padding on the right, which is later than every real token.
        hidden = None if causal and self.padding_side == "right" else self.padding
        allowed = None if hidden is None else ~hidden[:, None, None, :]  # [b, 1, 1, n]
        if not causal:
            return allowed
        earlier = torch.ones(n, n, dtype=torch.bool, device=device).tril()
        if allowed is None:
            return earlier  # [n, n]
        return (allowed & earlier) | torch.eye(n, dtype=torch.bool, device=device)  # [b, 1, n, n]


class Mixer(nn.Module, ABC):
    """Maps tokens ``[b, n, d]`` to tokens ``[b, n, d]``; the block adds the residual and the norm.

    The output at padded positions is undefined, and the output at real positions does not depend
    on the input at padded ones. The random choices of a mixer are buffers, saved with its weights,
    so that evaluation is repeatable; if the method draws in every step, training does so too.

    Args:
        shape: The sizes and options of the backbone.
    """

    supports_masks: ClassVar[bool] = True  # masks of the future and of padding
    supports_bidirectional: ClassVar[bool] = True
    supports_key_bias: ClassVar[bool] = False
    needs_times: ClassVar[bool] = False
    # Whether the mixer is a gated unit, in a block without a feed-forward network.
    replaces_feed_forward: ClassVar[bool] = False

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]``."""

    def initialize(self) -> None:
        """Draw random choices, and weights that differ from the backbone's initialization."""

    @abstractmethod
    def flops(self, keys: int, queries: int) -> int:
        """Return the floating-point operations for one sequence, two for a multiply-add.

        Args:
            keys: Number of tokens that are read.
            queries: Number of tokens that are computed; equal to ``keys`` unless the mixer is a
                :class:`QueryMixer`.
        """

    @property
    def active_dropout(self) -> float:
        """The current dropout probability of attention weights: 0 in evaluation."""
        return self.shape.dropout if self.training else 0.0

    def heads(self, x: Tensor) -> Tensor:
        """Split ``[..., n, d]`` into heads ``[..., h, n, d_h]``."""
        shape = self.shape
        return x.view(*x.shape[:-1], shape.heads, shape.head_width).transpose(-3, -2)


class MultiHead(Mixer):
    """A mixer with one projection each for queries, keys, values and the output."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
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

    def merge(self, mixed: Tensor) -> Tensor:
        """Join the heads ``[b, h, k, d_h]`` and project them, ``[b, k, d]``."""
        return self.output(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def projection_flops(self, keys: int, queries: int) -> int:
        """Return the operations of the projections of read (keys) and computed tokens (queries)."""
        return 4 * (keys + queries) * self.shape.width**2


class QueryMixer(MultiHead):
    """A mixer that can compute fewer tokens than it reads."""

    @abstractmethod
    def forward(self, tokens: Tensor, context: Context, queries: Tensor | None = None) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]`` into ``queries`` ``[b, k, d]``; None for all tokens.

        Given queries see every real token, also in a causal network: they are the read-out
        positions at the end of the sequence.
        """
