"""Packed batches: concatenated windows without padding, for variable-length attention."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from okml.seqrec.batches import Batch, CausalBatch
from okml.seqrec.flat import CPU, FlatEvents
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.mixers.base import PaddingSide
from okml.seqrec.rows import Windows


@dataclass(frozen=True, eq=False)
class PackedBatch(Batch):
    """The concatenated tokens of all windows of a batch, ``t`` in total.

    Attributes:
        items: The items of the windows, ``[t]``.
        times: The times of the items in seconds, int64 ``[t]``.
        targets: The next item at each position, ``[t]``, none of them 0.
        positions: The positions, ``[t]``, counted from the end as in a left-padded batch: the
            newest item of a window has ``length - 1``.
        cu_seqlens: The first index of each window, and ``t``: int32 ``[b + 1]``.
        user: The user of each window, ``[b]``.
        longest: The number of tokens of the longest window.
        length: The number of positions ``n`` of the padded batch.
    """

    items: Tensor
    times: Tensor
    targets: Tensor
    positions: Tensor
    cu_seqlens: Tensor
    user: Tensor
    longest: int
    length: int


class PackedBatches:
    """A source of packed batches whose examples are windows.

    Args:
        interactions: The events of all users.
        windows: The windows of histories.
        jitter: Whether the windows' borders move between epochs; see :meth:`Windows.bounds`.
        device: The device on which batches are built.
    """

    def __init__(
        self,
        interactions: Interactions,
        windows: Windows,
        *,
        jitter: bool = False,
        device: torch.device = CPU,
    ) -> None:
        self.interactions = interactions
        self.windows = windows
        self.jitter = jitter
        self._flat = FlatEvents(interactions, device)

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.windows)

    def batch(self, indices: Ints, rng: np.random.Generator) -> PackedBatch:
        """Build the batch of some windows; ``rng`` moves them."""
        start, stop = self.windows.bounds(self.interactions, indices, rng if self.jitter else None)
        sizes, flat = stop - 1 - start, self._flat
        ends = np.cumsum(sizes)
        tokens = torch.arange(int(ends[-1]), device=flat.device)
        # Offsets from a token's index in the batch to its event and position, by window.
        to_event, to_position = start - (ends - sizes), self.windows.length - ends
        shifts = flat.put(np.stack([to_event, to_position, sizes]))  # [3, b]
        shifts = shifts[:2].repeat_interleave(shifts[2], 1, output_size=len(tokens))  # [2, t]
        places = tokens + shifts[0]
        return PackedBatch(
            items=flat.items(places),
            times=flat.times(places),
            targets=flat.items(places + 1),
            positions=tokens + shifts[1],
            cu_seqlens=flat.put(np.concatenate([[0], ends])).int(),
            user=flat.put(self.windows.user[indices]),
            longest=int(sizes.max()),
            length=self.windows.length,
        )


def pack(batch: CausalBatch) -> PackedBatch:
    """Return a batch, padded on either side, without its padding."""
    real = batch.items != 0  # [b, n]
    sizes = real.sum(1)
    ends = sizes.cumsum(0)
    n = real.shape[1]
    positions = n - sizes[:, None] + real.cumsum(1) - 1
    return PackedBatch(
        items=batch.items[real],
        times=batch.times[real],
        targets=batch.targets[real],
        positions=positions[real],
        cu_seqlens=torch.nn.functional.pad(ends, (1, 0)).int(),
        user=batch.user,
        longest=int(sizes.max()),
        length=n,
    )


def unpack(packed: PackedBatch, side: PaddingSide = "left") -> CausalBatch:
    """Return a packed batch with padding."""
    items, times, targets = (
        pad_tokens(tokens, packed.cu_seqlens, packed.length, side)
        for tokens in (packed.items, packed.times, packed.targets)
    )
    padded = len(packed.items) < items.numel()
    return CausalBatch(items, times, targets, packed.user, padded)


def pad_tokens(tokens: Tensor, cu_seqlens: Tensor, length: int, side: PaddingSide) -> Tensor:
    """Pad packed tokens ``[t, ...]``, e.g. hidden states, to ``[b, length, ...]`` with zeros."""
    sizes = cu_seqlens.diff()[:, None]  # [b, 1]
    steps = torch.arange(length, device=tokens.device)
    real = steps >= length - sizes if side == "left" else steps < sizes  # [b, n]
    padded = tokens.new_zeros(*real.shape, *tokens.shape[1:])
    padded[real] = tokens
    return padded
