"""Reformer: tokens attend to tokens with the same locality-sensitive hash."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.seqrec.losses.base import wide
from okml.seqrec.mixers.base import Context, Mixer, Shape

# The logit of a token with itself, low enough to matter only if it sees no other token. Its key is
# its own query, so that the weight of itself would otherwise dominate.
ITSELF = -5e4


class Reformer(Mixer):
    """LSH attention with shared queries and keys, to a token's own chunk and the one before.

    Kitaev et al. (2020), section 2. In each round tokens are sorted by bucket, then by position,
    and split into chunks of equal size; a bucket may share its chunk with others. The chunks
    depend on all tokens.

    Args:
        shape: The sizes and options of the backbone.
        size: The number of tokens of a chunk, such as 4 for 8 tokens, 64 for thousands.
        rounds: The number of hashes.
    """

    supports_masks = False
    rotations: Tensor

    def __init__(self, shape: Shape, size: int = 8, rounds: int = 4) -> None:
        super().__init__(shape)
        self.size = size
        self.rounds = rounds
        self.half_buckets = math.ceil(shape.length / (2 * self.size))  # half the number of buckets
        self.query_key = nn.Linear(shape.width, shape.width)
        self.value = nn.Linear(shape.width, shape.width)
        self.output = nn.Linear(shape.width, shape.width)
        rotations = torch.empty(self.rounds, shape.head_width, self.half_buckets)
        self.register_buffer("rotations", rotations)
        self.initialize()

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]``."""
        q, v = self.heads(self.query_key(tokens)), self.heads(self.value(tokens))  # [b, h, n, d_h]
        order = self._order(q)  # [b, h, r, s], with s >= n slots
        k = functional.normalize(q, dim=-1)
        q, k, v = (self._chunks(x, order) for x in (q, k, v))  # [b, h, r, c, m, d_h]
        k, v = _with_previous(k, 0.0), _with_previous(v, 0.0)  # [b, h, r, c, 2 m, d_h]

        logits = wide(q @ k.transpose(-1, -2)) / self.shape.head_width**0.5
        logits = self._hide(logits, order, tokens.shape[1])  # [b, h, r, c, m, 2 m]
        weights = functional.dropout(logits.softmax(-1), self.shape.dropout, self.training)
        mixed = (weights.to(v.dtype) @ v).flatten(3, 4)  # [b, h, r, s, d_h]
        total = logits.logsumexp(-1).flatten(3, 4)  # [b, h, r, s]

        slots = order.argsort(-1)[..., : tokens.shape[1]]  # [b, h, r, n]: slot of each token
        total = total.gather(-1, slots).softmax(2)  # weights of the rounds
        mixed = mixed.gather(3, slots[..., None].expand(*slots.shape, mixed.shape[-1]))
        mixed = (mixed * total[..., None]).sum(2).to(v.dtype)  # [b, h, n, d_h]
        return self.output(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def buckets(self, q: Tensor) -> Tensor:
        """Hash ``q`` ``[b, h, n, d_h]`` to the nearest of the random directions and opposites.

        Returns:
            The bucket of each token in each round, ``[b, h, r, n]``.
        """
        directions = torch.randn_like(self.rotations) if self.training else self.rotations
        with torch.autocast(q.device.type, enabled=False):
            near = q[:, :, None].to(directions.dtype) @ directions  # [b, h, r, n, half]
        return torch.cat([near, -near], -1).argmax(-1)

    def _order(self, q: Tensor) -> Tensor:
        """Return the positions sorted by bucket, then position, filled up to whole chunks."""
        n = q.shape[2]
        slots = math.ceil(n / self.size) * self.size
        # Empty slots have a bucket after all others.
        bucket = functional.pad(
            self.buckets(q.detach()), (0, slots - n), value=2 * self.half_buckets
        )
        return (bucket * slots + torch.arange(slots, device=q.device)).argsort(-1)

    def _chunks(self, x: Tensor, order: Tensor) -> Tensor:
        """Sort ``[b, h, n, d_h]`` and split it into chunks ``[b, h, r, c, m, d_h]``."""
        x = functional.pad(x, (0, 0, 0, order.shape[-1] - x.shape[2]))[:, :, None]
        x = x.expand(-1, -1, self.rounds, -1, -1)
        x = x.gather(3, order[..., None].expand(*order.shape, x.shape[-1]))
        return x.reshape(*x.shape[:-2], -1, self.size, x.shape[-1])

    def _hide(self, logits: Tensor, order: Tensor, items: int) -> Tensor:
        """Mask empty slots and the token itself in the logits ``[b, h, r, c, m, 2 m]``."""
        slot = torch.arange(order.shape[-1], device=order.device).view(-1, self.size, 1)
        slot = _with_previous(slot, -1).mT  # [c, 1, 2 m]
        hidden = (slot < 0) | (slot >= items)  # items are sorted first
        asks = order.view(*order.shape[:-1], -1, self.size, 1)  # [b, h, r, c, m, 1], positions
        asked = _with_previous(asks, -1).mT  # [b, h, r, c, 1, 2 m]
        return logits.masked_fill(hidden, -torch.inf).masked_fill(asked == asks, ITSELF)

    def initialize(self) -> None:
        """Draw the random directions of the hash."""
        self.rotations.copy_(torch.randn(self.rotations.shape))

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of projections, hashes, and products with two chunks a round."""
        d = self.shape.width
        slots = math.ceil(keys / self.size) * self.size
        hashes = 2 * keys * d * self.half_buckets * self.rounds
        return 6 * keys * d * d + hashes + 8 * slots * self.size * d * self.rounds


def _with_previous(chunks: Tensor, first: float) -> Tensor:
    """Prepend the previous chunk to each: ``[..., c, m, e]`` to ``[..., c, 2 m, e]``.

    The predecessor of the first chunk is filled with ``first``.
    """
    before = functional.pad(chunks, (0, 0, 0, 0, 1, -1), value=first)
    return torch.cat([before, chunks], -2)
