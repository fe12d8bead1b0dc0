"""A transformer block: a token mixer and a feed-forward network, with residuals and norms."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.errors import ParameterError
from okml.seqrec.dropout import Dropout
from okml.seqrec.mixers import Context, QueryMixer, Shape, build_mixer
from okml.seqrec.settings import BackboneSettings


class FeedForward(nn.Module):
    """Linear, activation, linear; or SwiGLU, ``(silu(x W) * (x V)) U``."""

    def __init__(self, width: int, hidden: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.gated = activation == "swiglu"
        self.inner = nn.Linear(width, 2 * hidden if self.gated else hidden)
        self.outer = nn.Linear(hidden, width)
        self.dropout = Dropout(dropout)
        self.activation: Callable[[Tensor], Tensor] = (
            functional.relu if activation == "relu" else functional.gelu
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., d]`` to ``[..., d]``."""
        inner = self.inner(x)
        if self.gated:
            gate, value = inner.chunk(2, dim=-1)
            inner = functional.silu(gate) * value
        else:
            inner = self.activation(inner)
        return self.outer(self.dropout(inner))  # type: ignore[no-any-return]

    def flops(self, tokens: int) -> int:
        """Return the operations of two matrix products, three for SwiGLU."""
        return 2 * tokens * (self.inner.weight.numel() + self.outer.weight.numel())


class Residual(nn.Module):
    """A residual connection, plain or with a sigmoid gate of the sub-layer's input."""

    def __init__(self, width: int, dropout: float, gated: bool) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.gate = nn.Linear(width, width) if gated else None

    def forward(self, x: Tensor, added: Tensor) -> Tensor:
        """Return ``x + dropout(added)``, gated if the connection is; all are ``[b, n, d]``."""
        added = self.dropout(added)
        return x + (added if self.gate is None else torch.sigmoid(self.gate(x)) * added)

    def flops(self, tokens: int) -> int:
        """Return the operations of the gate's matrix product."""
        return 0 if self.gate is None else 2 * tokens * self.gate.weight.numel()


class Block(nn.Module):
    """A mixer and a feed-forward network.

    Args:
        settings: The settings of the backbone.
        shape: The sizes of the mixer.
    """

    def __init__(self, settings: BackboneSettings, shape: Shape) -> None:
        super().__init__()
        width, dropout = settings.width, settings.dropout
        gated = settings.residual == "gated"
        self.pre_norm = settings.norm == "pre"
        self.mixer = build_mixer(settings.mixer, shape)
        self.mixer_norm = nn.LayerNorm(width, eps=settings.norm_epsilon)
        self.mixer_residual = Residual(width, dropout, gated)
        self.feed_forward = None
        if settings.hidden is not None:
            self.feed_forward = FeedForward(
                width, settings.hidden, settings.activation, settings.hidden_dropout
            )
            self.feed_norm = nn.LayerNorm(width, eps=settings.norm_epsilon)
            self.feed_residual = Residual(width, dropout, gated)

    def forward(self, tokens: Tensor, context: Context, queries: Tensor | None = None) -> Tensor:
        """Map ``tokens`` ``[b, n, d]``; compute only outputs of ``queries`` ``[b, k, d]`` if given.

        Raises:
            ParameterError: If there are queries and the block needs all tokens, or a bias of the
                keys that the mixer does not support.
        """
        x: Tensor = tokens if queries is None else queries
        if self.pre_norm:
            x = self.mixer_residual(x, self._mix(self.mixer_norm(tokens), context, queries))
            if self.feed_forward is not None:
                x = self.feed_residual(x, self.feed_forward(self.feed_norm(x)))
        else:
            x = self.mixer_norm(self.mixer_residual(x, self._mix(tokens, context, queries)))
            if self.feed_forward is not None:
                x = self.feed_norm(self.feed_residual(x, self.feed_forward(x)))
        return x

    def _mix(self, tokens: Tensor, context: Context, queries: Tensor | None) -> Tensor:
        name = type(self.mixer).__name__
        if context.key_bias is not None and not self.mixer.supports_key_bias:
            raise ParameterError(f"{name} has no logits that a bias of the keys could be added to.")
        if queries is None:
            return self.mixer(tokens, context)  # type: ignore[no-any-return]
        if not self.shrinks:
            raise ParameterError(f"A block with {name} writes every token it reads.")
        normed = self.mixer_norm(queries) if self.pre_norm else queries
        return self.mixer(tokens, context, normed)  # type: ignore[no-any-return]

    @property
    def shrinks(self) -> bool:
        """Whether the block can compute fewer output tokens than it reads."""
        return isinstance(self.mixer, QueryMixer)

    def flops(self, keys: int, queries: int) -> int:
        """Return the floating-point operations for one sequence, two for a multiply-add."""
        total = self.mixer.flops(keys, queries) + self.mixer_residual.flops(queries)
        if self.feed_forward is not None:
            total += self.feed_forward.flops(queries) + self.feed_residual.flops(queries)
        return total
