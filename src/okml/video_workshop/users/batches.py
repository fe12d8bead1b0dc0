"""Batches with actions, gaps and hours, gathered from flat arrays without expanding the log."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from okml.errors import ParameterError
from okml.seqrec.batches import (
    CPU,
    CausalBatch,
    CausalBatches,
    LastTargetBatch,
    LastTargetBatches,
)
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.negatives import NegativeSampler
from okml.seqrec.rows import Rows, Windows
from okml.video_workshop.common.data import Watched
from okml.video_workshop.common.user_model import GAP_ENDS, HOURS, EventContext


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowBatch(CausalBatch):
    """Windows with the action at each target.

    Attributes:
        context: Context of the input events.
        next_actions: Action at each target, ``[b, n]``; 0 where there is none.
        further: Number of targets that are one step further ahead, and two.
        liked: Number of liked targets.
    """

    context: EventContext
    next_actions: Tensor
    further: tuple[int, ...]
    liked: int


@dataclass(frozen=True, eq=False, kw_only=True)
class AskedBatch(LastTargetBatch):
    """Histories up to a request.

    Attributes:
        asked: Time of each request in seconds, ``[b]``.
    """

    asked: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class RequestBatch(AskedBatch):
    """Histories up to a request, with the context of their events.

    Attributes:
        context: Context of the history's events.
    """

    context: EventContext


class FlatContext:
    """Action, gap and hour of every event as tensors on one device; 4 bytes an event.

    Gap and hour are those of the user's next event. The last event of a user has no next one, so
    no batch reads its values.
    """

    def __init__(self, watched: Watched, device: torch.device) -> None:
        times = watched.interactions.times
        following = np.append(times[1:], times[-1:])
        columns = (
            watched.actions.astype(np.int16),  # impressions have many combinations
            np.searchsorted(GAP_ENDS, following - times).astype(np.int8),
            (following // 3_600 % HOURS).astype(np.int8),
        )
        self._columns = [torch.from_numpy(column).to(device) for column in columns]

    def at(self, places: Tensor, real: Tensor) -> EventContext:
        """Return the context of the events ``places``; zeros where they are not ``real``."""
        return EventContext(*(column[places].long() * real for column in self._columns))

    def actions(self, places: Tensor) -> Tensor:
        """Return the actions of the events ``places``."""
        return self._columns[0][places].long()


class WindowBatches(CausalBatches):
    """A source whose examples are windows with the context of their events.

    Args:
        watched: Log of the windows, whose actions are the labels.
        windows: Windows of :func:`user_windows`.
        told: Log whose actions the model reads; None: the same.
        negatives: Sampler of negative items for a sampled loss.
        device: Device of the batches.
    """

    def __init__(
        self,
        watched: Watched,
        windows: Windows,
        *,
        told: Watched | None = None,
        negatives: NegativeSampler | None = None,
        device: torch.device = CPU,
    ) -> None:
        super().__init__(
            watched.interactions, windows, padding_side="right", negatives=negatives, device=device
        )
        self._labels = FlatContext(watched, device)
        self._context = self._labels if told is None else FlatContext(told, device)
        self._liked = np.concatenate([[0], np.cumsum(watched.liked)])  # [e + 1]

    def batch(self, indices: Ints, rng: np.random.Generator) -> WindowBatch:
        """Build the batch of some windows; ``rng`` draws the negatives.

        Numbers of targets are counted here, where the host need not wait for a device.
        """
        start, stop = self.windows.bounds(self.interactions, indices)
        targets = stop - 1 - start
        places, real = self._flat.padded(start, stop - 1, self.windows.length, "right")  # [b, n]
        return WindowBatch(
            **vars(super().batch(indices, rng)),
            context=self._context.at(places, real),
            next_actions=self._labels.actions(places + 1) * real,
            further=tuple(int(np.maximum(targets - ahead, 0).sum()) for ahead in (1, 2)),
            liked=int((self._liked[stop] - self._liked[start + 1]).sum()),
        )


class AskedBatches(LastTargetBatches):
    """A source whose examples are rows with the time of their request.

    Arguments are those of :class:`~okml.seqrec.batches.LastTargetBatches`.
    """

    def batch(self, indices: Ints, rng: np.random.Generator) -> AskedBatch:
        """Build the batch of some rows."""
        asked = self._flat.times(self._flat.put(self.rows.end[indices]))
        return AskedBatch(**vars(super().batch(indices, rng)), asked=asked)


class RequestBatches(AskedBatches):
    """A source whose examples are rows: a request, the history before it, and its target.

    Args:
        length: Largest number of events of a history.
        device: Device of the batches.
    """

    def __init__(
        self, watched: Watched, rows: Rows, length: int, *, device: torch.device = CPU
    ) -> None:
        super().__init__(watched.interactions, rows, length, padding_side="right", device=device)
        self._context = FlatContext(watched, device)

    def batch(self, indices: Ints, rng: np.random.Generator) -> RequestBatch:
        """Build the batch of some rows."""
        user, end = self.rows.user[indices], self.rows.end[indices]
        start = np.maximum(end - self.length, self.interactions.offsets[user])
        places, real = self._flat.padded(start, end, self.length, "right")  # [b, n]
        return RequestBatch(
            **vars(super().batch(indices, rng)),
            context=self._context.at(places, real),
        )


def user_windows(interactions: Interactions, limit: Ints, length: int) -> Windows:
    """Cut windows whose ends are half a length apart, from the newest event backwards.

    Args:
        interactions: Event log of all users.
        limit: One past the newest training event of each user, ``[u]``.
        length: Largest number of inputs of a window.

    Raises:
        ParameterError: If no user has two events.
    """
    stride = max(length // 2, 1)
    targets = np.maximum(limit - interactions.offsets[:-1] - 1, 0)  # [u]
    needed = (targets > 0) + -(-np.maximum(targets - length, 0) // stride)
    user = np.repeat(np.arange(interactions.user_count, dtype=np.int32), needed)
    if not len(user):
        raise ParameterError("No user has two events to train on.", "Choose a later cut.")
    age = np.arange(len(user)) - np.repeat(np.cumsum(needed) - needed, needed)
    return Windows(user, limit[user] - age * stride, limit[user], np.zeros_like(age), length)
