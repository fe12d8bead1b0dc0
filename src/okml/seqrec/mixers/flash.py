"""FLASH: gated attention units, quadratic within groups and linear between them."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.seqrec.mixers.base import Context, Mixer, MixerSettings, Shape
from okml.seqrec.mixers.masks import in_runs, realign
from okml.settings import Count, Width


class FLASHSettings(MixerSettings):
    """Hua et al. (2022), sections 3.1-3.2. It replaces attention and feed-forward network.

    Use it in a backbone with ``hidden=None``; two units have about as many parameters as one
    transformer layer.
    """

    kind: Literal["flash"] = "flash"
    expansion: Count = 2  # e / d, relative width of values and gates
    key_width: Width = 128  # s
    group: Count = 256  # g, tokens of a group, within which attention is quadratic
    buckets: Count = 32  # buckets of distances in the bias
    furthest: Count = 128  # largest distance with which the last bucket may begin


class FLASH(Mixer):
    """``W (G * (A V + q (k^T V) / length))`` with ``A = relu(q k^T / g + bias)^2``.

    ``V``, ``G`` and ``z`` are SiLUs of projections; the four kinds of queries and keys are scaled
    and shifted copies of ``z``. The unit always has one head. Groups count from the newest item.
    The linear part sums over all tokens, or over earlier groups if causal.
    """

    def __init__(self, settings: FLASHSettings, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.settings = settings
        self.expanded = settings.expansion * shape.width
        self.value_gate = nn.Linear(shape.width, 2 * self.expanded)
        self.shared = nn.Linear(shape.width, settings.key_width)
        self.scale = nn.Parameter(torch.ones(4, settings.key_width))
        self.shift = nn.Parameter(torch.zeros(4, settings.key_width))
        self.distance = nn.Embedding(settings.buckets, 1)
        self.output = nn.Linear(self.expanded, shape.width)

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]``."""
        v, gate = functional.silu(self.value_gate(tokens)).chunk(2, -1)  # [b, n, e]
        z = functional.silu(self.shared(tokens))  # [b, n, s]
        if context.padding is not None:
            v = v.masked_fill(context.padding[..., None], 0.0)
        n, size = tokens.shape[1], min(self.settings.group, tokens.shape[1])
        one_group = size == n
        if not one_group:
            z, v = realign(z, context), realign(v, context)
        z, v = (_groups(x, size) for x in (z, v))  # [b, c, g, s], [b, c, g, e]
        kinds = z[..., None, :] * self.scale + self.shift  # [b, c, g, 4, s]
        q_square, k_square, q_linear, k_linear = kinds.to(v.dtype).unbind(-2)

        weights = self._weights(q_square, k_square)
        mixed = weights.to(v.dtype) @ v
        if not (one_group and self.shape.causal):
            mixed = mixed + q_linear @ self._sums(k_linear, v)
        mixed = mixed.flatten(1, 2)[:, -n:]  # [b, n, e]
        if not one_group:
            mixed = realign(mixed, context, back=True)
        return self.output(gate * mixed)  # type: ignore[no-any-return]

    def _weights(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the squared weights within the groups, ``[b, c, g, g]``."""
        place = torch.arange(q.shape[-2], device=q.device)
        settings, causal = self.settings, self.shape.causal
        bucket = distance_bucket(
            place - place[:, None], causal, settings.buckets, settings.furthest
        )
        bias = self.distance(bucket).squeeze(-1)  # [g, g]
        weights = functional.relu(q @ k.transpose(-1, -2) / settings.group + bias).square()
        if causal:
            weights = weights.tril()
        return functional.dropout(weights, self.shape.dropout, self.training)

    def _sums(self, k: Tensor, v: Tensor) -> Tensor:
        """Return ``k^T v / length``, summed over all groups, or over earlier groups if causal.

        Returns:
            ``[b, 1, s, e]``, or ``[b, c, s, e]`` if causal.
        """
        sums = k.transpose(-1, -2) @ v / self.shape.length  # [b, c, s, e]
        if not self.shape.causal:
            return sums.sum(1, keepdim=True)
        return functional.pad(sums.cumsum(1), (0, 0, 0, 0, 1, -1)).to(v.dtype)

    def initialize(self) -> None:
        """Draw the scales, as in the paper's code."""
        nn.init.normal_(self.scale, std=0.02)
        nn.init.zeros_(self.shift)

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of three projections and of two products of each part."""
        d, e, s = self.shape.width, self.expanded, self.settings.key_width
        size = min(self.settings.group, keys)
        padded = math.ceil(keys / size) * size
        projections = 2 * keys * d * (2 * e + s) + 2 * queries * e * d
        linear = 0 if self.shape.causal and size == keys else 4 * padded * s * e
        return projections + 2 * padded * size * (s + e) + linear


def distance_bucket(distance: Tensor, causal: bool, buckets: int, furthest: int) -> Tensor:
    """Return the bucket of ``key - query``: exact for small distances, logarithmic for large ones.

    These are the relative positions of T5 (Raffel et al., 2020, section 2.1). If bidirectional,
    half of the buckets are for later keys; if causal, later keys share the bucket of distance 0.
    """
    back = (-distance).clamp_min(0) if causal else distance.abs()
    offset = torch.zeros_like(distance)
    if not causal:
        buckets //= 2
        offset = (distance > 0) * buckets
    near = buckets // 2
    growth = (back.clamp_min(1) / near).log() / math.log(furthest / near)
    far = (near + (growth * (buckets - near)).long()).clamp_max(buckets - 1)
    return offset + torch.where(back < near, back, far)


def _groups(x: Tensor, size: int) -> Tensor:
    """Split ``[b, n, e]`` into ``[b, c, size, e]``, with zeros before the oldest group."""
    return in_runs(functional.pad(x, (0, 0, -x.shape[1] % size, 0)), size)
