"""A log cut into consecutive periods, and the training windows of a period."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch

from okml.accelerator import upload
from okml.errors import ParameterError
from okml.seqrec.batches import CausalBatch, CausalBatches
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.negatives import NegativeSampler
from okml.seqrec.rows import Rows, Windows, all_rows, cut_windows
from okml.video_workshop.common.events import ends_of, first_of_items

DAY = 86_400  # seconds


@dataclass(frozen=True, eq=False)
class Stream:
    """Events and their periods.

    Attributes:
        interactions: Event log of all users.
        period: Period of each event from 0, ``[e]``, non-decreasing within a user's history.
    """

    interactions: Interactions
    period: Ints

    def __post_init__(self) -> None:
        events = len(self.interactions)
        if len(self.period) != events or not events:
            raise ParameterError(f"{len(self.period)} periods for {events} events.")
        same_user = np.diff(self.interactions.users()) == 0
        if (np.diff(self.period)[same_user] < 0).any():
            raise ParameterError("A user's later event falls into an earlier period.")

    @classmethod
    def by_time(
        cls, interactions: Interactions, days: float, start: int, first: int = 0, shards: float = 1
    ) -> Self:
        """Cut a log into periods of equal length.

        Args:
            interactions: Event log of all users.
            days: Length of a period in days.
            start: Time in seconds at which period 0 begins.
            first: Period from which on each period is cut into shards; earlier ones are whole.
            shards: Shards per period; below 1, a shard spans several periods. The shard that begins
                with period ``first`` has the number ``first``.
        """
        since = (interactions.times - start) / (days * DAY)
        later = first + np.floor((since - first) * shards)
        return cls(interactions, np.where(since < first, since, later).astype(np.int64))

    @property
    def count(self) -> int:
        """Number of periods, including empty ones."""
        return int(self.period.max()) + 1

    @cached_property
    def first_period(self) -> Ints:
        """Period of each item's first event, ``[items + 1]``; the largest integer for padding."""
        return first_of_items(self.interactions, self.period)

    @cached_property
    def first_seen(self) -> Ints:
        """Time of each item's first event, ``[items + 1]``; the largest integer for padding."""
        return first_of_items(self.interactions, self.interactions.times)

    def end_before(self, period: int) -> Ints:
        """Return one past each user's newest event of all periods before ``period``, ``[u]``."""
        return ends_of(self.interactions, self.period < period)

    def targets(self, period: int) -> Rows:
        """Return a row for each event of a period whose user has earlier events.

        The history of a row ends before its target, so it may include events of the same period.
        """
        rows = all_rows(self.interactions)
        return rows.take(self.period[rows.end] == period)

    def events_of(self, period: int) -> tuple[Ints, Ints]:
        """Return the items and the times of the events of a period, ``[e]`` each."""
        here = self.period == period
        return self.interactions.items[here].astype(np.int64), self.interactions.times[here]

    def counts(self, period: int) -> Ints:
        """Return the events of each item by the end of ``period``, ``[items + 1]``."""
        items = self.interactions.items[self.period <= period]
        return np.bincount(items, minlength=self.interactions.item_count + 1)

    def existing(self, period: int) -> Ints:
        """Return the items that have appeared by the end of ``period``, ascending."""
        return np.flatnonzero(self.first_period <= period)


def sample_targets(stream: Stream, first: int, most: int, seed: int = 0) -> Rows:
    """Draw the test rows of a stream: up to ``most`` of each period from ``first`` on.

    Returns:
        The rows in the order of events.

    Raises:
        ParameterError: If no period has a target.
    """
    rng = np.random.default_rng(seed)
    rows = all_rows(stream.interactions)
    period = stream.period[rows.end]
    drawn = []
    for number in range(first, stream.count):
        places = np.flatnonzero(period == number)
        drawn.append(rng.choice(places, min(most, len(places)), replace=False))
    chosen = np.sort(np.concatenate(drawn)) if drawn else np.empty(0, np.int64)
    if not len(chosen):
        raise ParameterError(
            f"No event from period {first} on has a history.", "Choose an earlier first period."
        )
    return rows.take(chosen)


@dataclass(frozen=True, eq=False)
class TargetWindows:
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
        return type(self)(self.windows.take(which), self.first[which])

    def join(self, other: Self) -> Self:
        """Return the windows of both, which must have the same length."""
        first = np.concatenate([self.first, other.first])
        return type(self)(self.windows.join(other.windows), first)


def of_period(stream: Stream, period: int, length: int) -> TargetWindows:
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
    return TargetWindows(windows, first[user])


def before_period(stream: Stream, period: int, length: int) -> TargetWindows:
    """Return windows over all events before ``period``, with every target."""
    windows = cut_windows(stream.interactions, stream.end_before(period), length)
    return TargetWindows(windows, np.zeros(len(windows), np.int64))


class TargetWindowBatches:
    """A source whose examples are the windows of :class:`TargetWindows`, padded on the right.

    Args:
        interactions: Event log of all users.
        device: Device of the batches.
        negatives: Sampler of negative items for a sampled loss.
    """

    def __init__(
        self,
        interactions: Interactions,
        slices: TargetWindows,
        device: torch.device,
        negatives: NegativeSampler | None = None,
    ) -> None:
        self.slices = slices
        self.device = device
        self._whole = CausalBatches(
            interactions, slices.windows,
            padding_side="right", device=device, negatives=negatives,
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
        event = columns + start[:, None] + 1
        counts = event >= self.slices.first[indices][:, None]
        real = event < stop[:, None]
        return replace(
            batch,
            targets=batch.targets * upload(torch.from_numpy(counts), self.device),
            count=int((counts & real).sum()),
        )
