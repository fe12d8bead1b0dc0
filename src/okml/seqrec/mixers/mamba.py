"""Mamba: a linear recurrence whose coefficients depend on the input."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.seqrec.losses.base import wide
from okml.seqrec.mixers.base import Context, Mixer, Shape

EXPANSION = 2  # channels / width, as in the paper and in Mamba4Rec
SLOWEST, FASTEST = 1e-3, 0.1  # range of initial step sizes, as in the authors' code


class Mamba(Mixer):
    """A gated recurrence ``h[t] = exp(step A) h[t-1] + step B x[t]``, read as ``C h[t] + D x[t]``.

    Gu and Dao (2023), with the sizes of Mamba4Rec (Liu et al., 2024). ``step``, ``B`` and ``C``
    are functions of the token (algorithm 2 of the paper). This is a reference implementation in
    plain PyTorch that holds all states, ``[b, n, channels, state]``; the authors' fused kernel does
    not, so times and memory measured here do not apply to it.

    Args:
        shape: The sizes and options of the backbone.
        state: The size of a channel's state.
        convolution: The number of tokens that the convolution before the recurrence reads.
    """

    supports_bidirectional = False

    def __init__(self, shape: Shape, state: int = 32, convolution: int = 4) -> None:
        super().__init__(shape)
        self.state = state
        self.rank = math.ceil(shape.width / 16)  # rank of the projection to step sizes
        self.channels = EXPANSION * shape.width
        self.inner = nn.Linear(shape.width, 2 * self.channels, bias=False)
        self.convolution = nn.Conv1d(
            self.channels,
            self.channels,
            convolution,
            padding=convolution - 1,
            groups=self.channels,
        )
        self.selection = nn.Linear(self.channels, self.rank + 2 * state, bias=False)
        self.step = nn.Linear(self.rank, self.channels)
        self.log_decay = nn.Parameter(torch.zeros(self.channels, state))
        self.skip = nn.Parameter(torch.ones(self.channels))
        self.output = nn.Linear(self.channels, shape.width, bias=False)

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]``."""
        x, gate = self.inner(tokens).chunk(2, -1)  # [b, n, e]
        x = _without_padding(x, context)
        x = self.convolution(x.transpose(1, 2))[..., : tokens.shape[1]].transpose(1, 2)
        x = _without_padding(functional.silu(x), context)  # padding leaves the state at zero
        sizes = [self.rank, self.state, self.state]
        low, write, read = self.selection(x).split(sizes, -1)  # [b, n, r], [b, n, s], [b, n, s]
        step = self.step(low)  # [b, n, e]
        with torch.autocast(tokens.device.type, enabled=False):
            x, write, read = wide(x), wide(write), wide(read)
            step = functional.softplus(wide(step))
            decay = (step[..., None] * -self.log_decay.exp()).exp()  # [b, n, e, s]
            states = scan(decay, (step * x)[..., None] * write[:, :, None, :])  # [b, n, e, s]
            y = (states @ read[..., None]).squeeze(-1) + self.skip * x  # [b, n, e]
        return self.output(y.to(gate.dtype) * functional.silu(gate))  # type: ignore[no-any-return]

    def initialize(self) -> None:
        """Draw step sizes log-uniformly; set the decay rates of a channel to 1, 2, 3, ..."""
        self.convolution.reset_parameters()
        nn.init.uniform_(self.step.weight, -(self.rank**-0.5), self.rank**-0.5)
        with torch.no_grad():
            spread = math.log(FASTEST / SLOWEST)
            step = SLOWEST * (torch.rand(self.channels) * spread).exp()
            self.step.bias.copy_(step.expm1().log())  # the inverse of softplus
            self.log_decay.copy_(torch.arange(1, self.state + 1).log().expand_as(self.log_decay))
        nn.init.ones_(self.skip)

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of projections, padded convolution, recurrence and read-out."""
        e = self.channels
        weights = (self.inner, self.selection, self.step, self.output)
        projections = 2 * keys * sum(part.weight.numel() for part in weights)
        kernel = self.convolution.weight.shape[-1]
        convolution = 2 * (keys + kernel - 1) * e * kernel
        return projections + convolution + 2 * keys * e * self.state + self.scan_flops(keys)

    def scan_flops(self, n: int) -> int:
        """Return the operations of the recurrence: three for each state and doubling step."""
        return 3 * math.ceil(math.log2(n)) * n * self.channels * self.state


def scan(decay: Tensor, inflow: Tensor) -> Tensor:
    """Return ``h[t] = decay[t] h[t-1] + inflow[t]`` for all ``t``, along the second axis.

    It is a parallel prefix scan by recursive doubling (Hillis and Steele, 1986), with a number of
    kernels logarithmic in the length.

    Args:
        decay: The factors of the states, ``[b, n, ...]``.
        inflow: The added terms, ``[b, n, ...]``.

    Returns:
        The states ``[b, n, ...]``, from an initial state of zero.
    """
    span = 1
    while span < decay.shape[1]:
        first, earlier = inflow[:, :span], inflow[:, :-span]
        inflow = torch.cat([first, inflow[:, span:] + decay[:, span:] * earlier], 1)
        decay = torch.cat([decay[:, :span], decay[:, span:] * decay[:, :-span]], 1)
        span *= 2
    return inflow


def _without_padding(x: Tensor, context: Context) -> Tensor:
    """Set padded tokens of ``[b, n, e]`` to zero."""
    return x if context.padding is None else x.masked_fill(context.padding[..., None], 0.0)
