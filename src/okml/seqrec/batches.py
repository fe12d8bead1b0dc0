"""Batches of histories, gathered on demand from flat arrays.

A source keeps the flat items and times as tensors on one device. On a GPU (12 bytes an event) it
gathers there, and a batch costs the transfer of two numbers a row; such a source needs
``workers=0``. On the CPU it returns CPU batches, which :meth:`Batch.to` sends through pinned
memory.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.accelerator import upload
from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.mixers.base import PaddingSide
from okml.seqrec.negatives import NegativeSampler
from okml.seqrec.rows import Rows, Windows

CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Batch:
    """A data class whose tensors, also in nested batches, move to a device together."""

    def to(self, device: torch.device | str) -> Self:
        """Return the batch on ``device``.

        A transfer from the CPU to a GPU is asynchronous and uses pinned memory.
        """
        device = torch.device(device)
        moved: dict[str, Tensor | Batch] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Batch):
                moved[field.name] = value.to(device)
            elif isinstance(value, Tensor):
                moved[field.name] = upload(value, device)
        return replace(self, **moved)


@dataclass(frozen=True, eq=False)
class LastTargetBatch(Batch):
    """Histories, each with its next item as the target.

    Attributes:
        items: The items of the histories, ``[b, n]``, 0 for padding.
        times: The times of the items in seconds, int64 ``[b, n]``, 0 for padding.
        target: The next item of each history, ``[b]``.
        user: The user of each history, ``[b]``.
        padded: Whether any history is shorter than ``n``.
        negatives: Sampled items, ``[k]`` or ``[b, k]``; None if the source has no sampler.
    """

    items: Tensor
    times: Tensor
    target: Tensor
    user: Tensor
    padded: bool
    negatives: Tensor | None = None


@dataclass(frozen=True, eq=False)
class CausalBatch(Batch):
    """Windows of histories, with the next item as the target at each position.

    Attributes:
        items: The items of the windows, ``[b, n]``, 0 for padding.
        times: The times of the items in seconds, int64 ``[b, n]``, 0 for padding.
        targets: The next item at each position, ``[b, n]``; 0 means no loss.
        user: The user of each window, ``[b]``.
        padded: Whether any window is shorter than ``n``.
        count: The number of targets that are not 0.
        negatives: Sampled items, ``[k]`` or ``[b, n, k]`` (0 where there is no target); None if
            the source has no sampler.
    """

    items: Tensor
    times: Tensor
    targets: Tensor
    user: Tensor
    padded: bool
    count: int
    negatives: Tensor | None = None


class FlatEvents:
    """Items and times of all events as tensors on one device; 12 bytes an event."""

    def __init__(self, interactions: Interactions, device: torch.device) -> None:
        self.device = device
        # On the CPU these share the memory of the arrays.
        self._items = torch.from_numpy(interactions.items).to(device)
        self._times = torch.from_numpy(interactions.times).to(device)

    def put(self, numbers: NDArray[np.integer[Any]]) -> Tensor:
        """Return ``numbers``, ``[...]``, as an int64 tensor on the device."""
        return upload(torch.from_numpy(numbers.astype(np.int64, copy=False)), self.device)

    def items(self, places: Tensor) -> Tensor:
        """Return the items of the events with indices ``places``, ``[...]``, int64 ``[...]``."""
        return self._items[places].long()

    def times(self, places: Tensor) -> Tensor:
        """Return the times of the events ``places``, ``[...]``: seconds, int64 ``[...]``."""
        return self._times[places]

    def padded(
        self, start: Ints, stop: Ints, length: int, side: PaddingSide
    ) -> tuple[Tensor, Tensor]:
        """Return the indices of the events of some slices, padded to equal length.

        Args:
            start: Index of the first event of each slice, ``[b]``.
            stop: One past the last index, ``[b]``; at most ``start + length``.
            length: Number of positions, ``n``.
            side: The side of the padding.

        Returns:
            The index of the event at each position, and whether the position is no padding, both
            ``[b, n]``. The index at padding is a valid one, so that gathering stays in bounds.
        """
        steps = torch.arange(length, device=self.device)
        first, end = self.put(start)[:, None], self.put(stop)[:, None]
        places = steps + (end - length if side == "left" else first)  # [b, n]
        real = (places >= first) & (places < end)
        return torch.where(real, places, first), real


class LastTargetBatches:
    """A batch source whose examples are rows.

    Args:
        interactions: The events of all users.
        rows: The rows to predict.
        length: The largest number of items of a history, ``n``; older items are left out.
        targets: The target of each row, ``[r]``, if it is no event of the log (an item that was
            removed from all histories); by default the event at the row's end.
        padding_side: The side of the padding.
        negatives: The sampler of negative items; None for none.
        device: The device on which batches are built.

    Raises:
        ParameterError: If the length is not positive, or there are not as many targets as rows.
    """

    def __init__(
        self,
        interactions: Interactions,
        rows: Rows,
        length: int,
        *,
        targets: Ints | None = None,
        padding_side: PaddingSide = "left",
        negatives: NegativeSampler | None = None,
        device: torch.device = CPU,
    ) -> None:
        if length < 1:
            raise ParameterError("Histories must have at least 1 item.")
        if targets is not None and len(targets) != len(rows):
            raise ParameterError(f"{len(targets):,} targets for {len(rows):,} rows.")
        self.interactions = interactions
        self.rows = rows
        self.length = length
        self.padding_side = padding_side
        self.negatives = negatives
        self._targets = targets
        self._flat = FlatEvents(interactions, device)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def targets(self) -> Ints:
        """Return the target item of each row, ``[r]``."""
        if self._targets is not None:
            return self._targets
        return self.interactions.items[self.rows.end].astype(np.int64)

    def batch(self, indices: Ints, rng: np.random.Generator) -> LastTargetBatch:
        """Build the batch of the rows ``indices``, ``[b]``; ``rng`` draws the negatives."""
        user, end = self.rows.user[indices], self.rows.end[indices]
        start = np.maximum(end - self.length, self.interactions.offsets[user])
        flat = self._flat
        places, real = flat.padded(start, end, self.length, self.padding_side)  # [b, n]
        owner = flat.put(user)
        if self._targets is None:
            target = flat.items(flat.put(end))
        else:
            target = flat.put(self._targets[indices])
        return LastTargetBatch(
            items=flat.items(places) * real,
            times=flat.times(places) * real,
            target=target,
            user=owner,
            padded=bool((end - start < self.length).any()),
            negatives=draw_negatives(self.negatives, target, owner, rng),
        )


class CausalBatches:
    """A batch source whose examples are windows.

    Args:
        interactions: The events of all users.
        windows: The windows; a batch has ``n = windows.length`` positions.
        padding_side: The side of the padding.
        jitter: Whether the windows' borders move between epochs; see :meth:`Windows.bounds`.
        negatives: The sampler of negative items; None for none.
        device: The device on which batches are built.
    """

    def __init__(
        self,
        interactions: Interactions,
        windows: Windows,
        *,
        padding_side: PaddingSide = "left",
        jitter: bool = False,
        negatives: NegativeSampler | None = None,
        device: torch.device = CPU,
    ) -> None:
        self.interactions = interactions
        self.windows = windows
        self.padding_side = padding_side
        self.jitter = jitter
        self.negatives = negatives
        self._flat = FlatEvents(interactions, device)

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.windows)

    def batch(self, indices: Ints, rng: np.random.Generator) -> CausalBatch:
        """Build the batch of the windows ``indices``, ``[b]``.

        ``rng`` moves the windows, if they jitter, and draws the negatives.
        """
        start, stop = self.windows.bounds(self.interactions, indices, rng if self.jitter else None)
        length, flat = self.windows.length, self._flat
        sizes = stop - 1 - start
        places, real = flat.padded(start, stop - 1, length, self.padding_side)  # [b, n]
        targets, owner = flat.items(places + 1) * real, flat.put(self.windows.user[indices])
        return CausalBatch(
            items=flat.items(places) * real,
            times=flat.times(places) * real,
            targets=targets,
            user=owner,
            padded=bool((sizes < length).any()),
            count=int(sizes.sum()),
            negatives=draw_negatives(self.negatives, targets, owner, rng),
        )


def draw_negatives(
    sampler: NegativeSampler | None, targets: Tensor, user: Tensor, rng: np.random.Generator
) -> Tensor | None:
    """Draw the negatives of a batch, ``[k]`` or ``[..., k]``; None without a sampler.

    Args:
        sampler: The sampler of the negatives, which says whether all targets share them.
        targets: The target items, ``[...]``; 0 where there is none.
        user: The user of each example, ``[b]``.
        rng: The source of random numbers.
    """
    return None if sampler is None else sampler.for_targets(targets, user, rng)
