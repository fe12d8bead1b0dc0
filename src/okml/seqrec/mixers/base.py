"""What a token mixer is: the part of a block in which the positions of a sequence meet."""

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
    """What every mixer of a backbone is built for.

    Attributes:
        length: Longest sequence, in items.
        width: Of a token, ``d``.
        heads: Attention heads; ``width`` is a multiple of it.
        causal: Whether a position may see only itself and earlier ones.
        dropout: Of attention weights, in training. Mixers that never form weights have none to
            drop.
    """

    length: int
    width: int
    heads: int
    causal: bool
    dropout: float = 0.0

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.width // self.heads


@dataclass(frozen=True)
class Context:
    """What a mixer may look at besides the tokens.

    Attributes:
        padding: Bool ``[b, n]``, true where there is no item; None if every position has one, so
            that the fast kernels need no mask.
        padding_side: Where the padding is. On the right a causal mask already hides it.
        times: Of the interactions, int64 seconds ``[b, n]``; None if the encoder got none.
        key_bias: ``[b, n]``, added to all logits of a key, in units of logits.
    """

    padding: Tensor | None = None
    padding_side: PaddingSide = "left"
    times: Tensor | None = None
    key_bias: Tensor | None = None


class MixerSettings(Settings):
    """The options of one kind of mixer. Subclasses add a literal ``kind``."""


class Mixer(nn.Module, ABC):
    """Maps tokens ``[b, n, d]`` to tokens ``[b, n, d]``; the residual and the norm are the block's.

    What lies at padded positions of the output is not defined, and no real position depends on
    what lies at padded positions of the input.
    """

    supports_causal: ClassVar[bool] = True
    supports_bidirectional: ClassVar[bool] = True
    supports_padding: ClassVar[bool] = True
    supports_key_bias: ClassVar[bool] = False
    needs_times: bool = False  # of one mixer, since settings may switch its use of time off

    @abstractmethod
    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]``."""

    def initialize(self) -> None:
        """Draw the weights that the backbone's common initialization should not decide."""

    @abstractmethod
    def flops(self, keys: int, queries: int) -> int:
        """Return the floating-point operations for one sequence, two a multiply-add.

        Args:
            keys: Tokens that are read.
            queries: Tokens that are written. Equal to ``keys`` unless the mixer is a
                :class:`QueryMixer`.
        """


class QueryMixer(Mixer):
    """A mixer that can write fewer tokens than it reads."""

    @abstractmethod
    def forward(self, tokens: Tensor, context: Context, queries: Tensor | None = None) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]`` into ``queries`` ``[b, k, d]``; None: into themselves.

        Queries that are given see every real token, also in a causal network: they are the
        read-out positions, which have no future.
        """


class RandomMixer(Mixer):
    """A mixer that makes random choices.

    The choices are buffers, saved with the weights, so that evaluation is repeatable. Where the
    method draws anew in each step, training does so and evaluation uses the saved draw.
    """

    @abstractmethod
    def draw(self, generator: torch.Generator | None = None) -> None:
        """Make the saved choices anew.

        Args:
            generator: On the CPU, so that all devices get one draw; None: PyTorch's own.
        """

    def initialize(self) -> None:
        """Make the random choices together with the weights."""
        self.draw()


def widened(x: Tensor) -> Tensor:
    """Return ``x`` in at least 32 bits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
