"""The interface of token mixers: the part of a block that combines positions of a sequence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from okml.settings import Settings

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


class MixerSettings(Settings):
    """The settings of one kind of mixer. Subclasses add a literal ``kind``."""


class Mixer(nn.Module, ABC):
    """Maps tokens ``[b, n, d]`` to tokens ``[b, n, d]``; the block adds the residual and the norm.

    The output at padded positions is undefined, and the output at real positions does not depend
    on the input at padded ones.
    """

    supports_causal: ClassVar[bool] = True
    supports_bidirectional: ClassVar[bool] = True
    supports_padding: ClassVar[bool] = True
    supports_key_bias: ClassVar[bool] = False
    needs_times: bool = False  # an instance's, since settings may disable its use of time

    @abstractmethod
    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]``."""

    def initialize(self) -> None:
        """Draw the weights that differ from the backbone's common initialization."""

    @abstractmethod
    def flops(self, keys: int, queries: int) -> int:
        """Return the floating-point operations for one sequence, two for a multiply-add.

        Args:
            keys: Number of tokens that are read.
            queries: Number of tokens that are computed; equal to ``keys`` unless the mixer is a
                :class:`QueryMixer`.
        """


class QueryMixer(Mixer):
    """A mixer that can compute fewer tokens than it reads."""

    @abstractmethod
    def forward(self, tokens: Tensor, context: Context, queries: Tensor | None = None) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]`` into ``queries`` ``[b, k, d]``; None for all tokens.

        Given queries see every real token, also in a causal network: they are the read-out
        positions at the end of the sequence.
        """


class RandomMixer(Mixer):
    """A mixer with random choices.

    The choices are buffers, saved with the weights, so that evaluation is repeatable. If the
    method draws in every step, training does so and evaluation uses the saved draw.
    """

    @abstractmethod
    def draw(self, generator: torch.Generator | None = None) -> None:
        """Redraw the saved choices.

        Args:
            generator: A CPU generator, so that all devices get the same draw; None for PyTorch's
                global one.
        """

    def initialize(self) -> None:
        """Draw the random choices together with the weights."""
        self.draw()


def widened(x: Tensor) -> Tensor:
    """Return ``x`` in a precision of at least 32 bits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
