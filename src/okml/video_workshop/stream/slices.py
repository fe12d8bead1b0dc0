"""Training examples of a stream: windows of histories with some targets masked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch

from okml.seqrec.batches import CausalBatch, CausalBatches
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.mixers.base import PaddingSide
from okml.seqrec.negatives import NegativeSampler
from okml.seqrec.rows import Windows, cut_windows
from okml.video_workshop.stream.windows import Stream


@dataclass(frozen=True, eq=False)
class Slices:
    """Windows, and the first event of each that counts as a target.

    Attributes:
        first: First event that is a target, ``[w]``; earlier ones are only context.
    """

    windows: Windows
    first: Ints

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.windows)

    def target_count(self, interactions: Interactions) -> int:
        """Return the number of unmasked targets."""
        start, stop = self.windows.bounds(interactions, np.arange(len(self)))
        return int((stop - np.maximum(start + 1, self.first)).sum())

    def take(self, which: Ints) -> Self:
        """Return some of the windows."""
        windows = self.windows
        kept = Windows(
            windows.user[which], windows.stop[which], windows.limit[which],
            windows.slack[which], windows.length,
        )  # fmt: skip
        return type(self)(kept, self.first[which])

    def join(self, other: Self) -> Self:
        """Return the windows of both, which must have the same length."""
        a, b = self.windows, other.windows
        both = Windows(
            np.concatenate([a.user, b.user]), np.concatenate([a.stop, b.stop]),
            np.concatenate([a.limit, b.limit]), np.concatenate([a.slack, b.slack]), a.length,
        )  # fmt: skip
        return type(self)(both, np.concatenate([self.first, other.first]))


def of_period(stream: Stream, period: int, length: int) -> Slices:
    """Return windows whose targets are the events of one period.

    They start up to ``length`` events earlier, which are only context.
    """
    interactions = stream.interactions
    offsets = interactions.offsets[:-1]
    first = np.maximum(stream.end_before(period), offsets + 1)  # a user's first event is no target
    limit = stream.end_before(period + 1)
    needed = -(-np.maximum(limit - first, 0) // length)  # windows of each user, [u]
    user = np.repeat(np.arange(interactions.user_count, dtype=np.int32), needed)
    age = np.arange(len(user)) - np.repeat(np.cumsum(needed) - needed, needed)
    windows = Windows(
        user=user,
        stop=limit[user] - age * length,
        limit=limit[user],
        slack=np.zeros(len(user), np.int64),
        length=length,
    )
    return Slices(windows, first[user])


def before_period(stream: Stream, period: int, length: int) -> Slices:
    """Return windows over all events before ``period``, with every target."""
    windows = cut_windows(stream.interactions, stream.end_before(period), length)
    return Slices(windows, np.zeros(len(windows), np.int64))


class SliceBatches:
    """A source whose examples are the windows of :class:`Slices`.

    Args:
        interactions: Event log of all users.
        device: Device of the batches.
        negatives: Sampler of negative items for a sampled loss.
    """

    def __init__(
        self,
        interactions: Interactions,
        slices: Slices,
        padding_side: PaddingSide,
        device: torch.device,
        negatives: NegativeSampler | None = None,
    ) -> None:
        self.slices = slices
        self.padding_side = padding_side
        self.device = device
        self._whole = CausalBatches(
            interactions, slices.windows,
            padding_side=padding_side, device=device, negatives=negatives,
        )  # fmt: skip

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.slices)

    def batch(self, indices: Ints, rng: np.random.Generator) -> CausalBatch:
        """Build the batch of some windows; masked targets are 0."""
        batch = self._whole.batch(indices, rng)
        windows = self.slices.windows
        start, stop = windows.bounds(self._whole.interactions, indices)
        columns = np.arange(windows.length)
        # The number of the target event at each position, [b, n].
        left = self.padding_side == "left"
        event = columns + (stop[:, None] - windows.length if left else start[:, None] + 1)
        counts = torch.from_numpy(event >= self.slices.first[indices][:, None])
        return replace(batch, targets=batch.targets * counts.to(self.device))
