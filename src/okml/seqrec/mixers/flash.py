"""FLASH: gated attention units, quadratic within groups and linear between them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.seqrec.mixers.base import Context, Mixer, Shape

EXPANSION = 2  # e / d, relative width of values and gates (section 3.1)
# The bias by distance has the buckets of T5 (Raffel et al., 2020), as in the paper's code.
BUCKETS = 32
FURTHEST = 128  # largest distance with which the last bucket may begin


class FLASH(Mixer):
    """``W (G * (A V + q (k^T V) / length))`` with ``A = relu(q k^T / g + bias)^2``.

    Hua et al. (2022), sections 3.1-3.2. It replaces attention and feed-forward network: use it in
    a backbone with ``hidden=None``; two units have about as many parameters as one transformer
    layer. ``V``, ``G`` and ``z`` are SiLUs of projections; the four kinds of queries and keys are
    scaled and shifted copies of ``z``. The unit always has one head. Groups count from the newest
    item. The linear part sums over all tokens.

    Args:
        shape: The sizes and options of the backbone.
        key_width: The width of queries and keys, ``s``.
        group: The number of tokens of a group, ``g``, within which attention is quadratic.
    """

    supports_masks = False
    replaces_feed_forward = True

    def __init__(self, shape: Shape, key_width: int = 128, group: int = 256) -> None:
        super().__init__(shape)
        self.group = group
        self.value_gate = nn.Linear(shape.width, 2 * EXPANSION * shape.width)
        self.shared = nn.Linear(shape.width, key_width)
        self.scale = nn.Parameter(torch.ones(4, key_width))
        self.shift = nn.Parameter(torch.zeros(4, key_width))
        self.distance = nn.Embedding(BUCKETS, 1)
        self.output = nn.Linear(EXPANSION * shape.width, shape.width)

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]``."""
        v, gate = functional.silu(self.value_gate(tokens)).chunk(2, -1)  # [b, n, e]
        z = functional.silu(self.shared(tokens))  # [b, n, s]
        n, size = tokens.shape[1], min(self.group, tokens.shape[1])
        z, v = _groups(z, size), _groups(v, size)  # [b, c, g, s], [b, c, g, e]
        kinds = z[..., None, :] * self.scale + self.shift  # [b, c, g, 4, s]
        q_square, k_square, q_linear, k_linear = kinds.to(v.dtype).unbind(-2)

        within = self._weights(q_square, k_square).to(v.dtype) @ v
        sums = k_linear.mT @ v / self.shape.length  # [b, c, s, e]
        mixed = within + q_linear @ sums.sum(1, keepdim=True)  # [b, c, g, e]
        return self.output(gate * mixed.flatten(1, 2)[:, -n:])  # type: ignore[no-any-return]

    def _weights(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the squared weights within the groups, ``[b, c, g, g]``."""
        place = torch.arange(q.shape[-2], device=q.device)
        bias = self.distance(distance_bucket(place - place[:, None])).squeeze(-1)  # [g, g]
        weights = functional.relu(q @ k.mT / self.group + bias).square()
        return functional.dropout(weights, self.shape.dropout, self.training)

    def initialize(self) -> None:
        """Draw the scales, as in the paper's code."""
        nn.init.normal_(self.scale, std=0.02)
        nn.init.zeros_(self.shift)

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of three projections and of two products of each part."""
        e, d = self.output.in_features, self.shape.width
        s = self.shared.out_features
        size = min(self.group, keys)
        padded = math.ceil(keys / size) * size
        projections = 2 * keys * d * (2 * e + s) + 2 * queries * e * d
        return projections + 2 * padded * size * (s + e) + 4 * padded * s * e


def distance_bucket(distance: Tensor) -> Tensor:
    """Return the bucket of each distance, int64, any shape: logarithmic beyond small distances.

    Half of the buckets are for later keys.

    Args:
        distance: Position of a key less that of a query, int64, any shape.
    """
    side = BUCKETS // 2
    near = side // 2
    back = distance.abs()
    growth = (back.clamp_min(1) / near).log() / math.log(FURTHEST / near)
    far = (near + (growth * (side - near)).long()).clamp_max(side - 1)
    return (distance > 0) * side + torch.where(back < near, back, far)


def _groups(x: Tensor, size: int) -> Tensor:
    """Split ``[b, n, e]`` into ``[b, c, size, e]``, with zeros before the oldest group."""
    padded = functional.pad(x, (0, 0, -x.shape[1] % size, 0))
    return padded.reshape(x.shape[0], -1, size, x.shape[2])
