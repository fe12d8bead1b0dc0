"""A log cut into consecutive periods: weeks of ratings, days of click sessions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.rows import Rows, all_rows

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
        return self._first(self.period)

    @cached_property
    def first_seen(self) -> Ints:
        """Time of each item's first event, ``[items + 1]``; the largest integer for padding."""
        return self._first(self.interactions.times)

    def _first(self, values: Ints) -> Ints:
        """Return the smallest of the values ``[e]`` of each item's events, ``[items + 1]``."""
        found = np.full(self.interactions.item_count + 1, np.iinfo(np.int64).max)
        np.minimum.at(found, self.interactions.items, values)
        return found

    def end_before(self, period: int) -> Ints:
        """Return one past each user's newest event of all periods before ``period``, ``[u]``."""
        offsets = self.interactions.offsets
        before = np.concatenate([[0], np.cumsum(self.period < period)])
        return offsets[:-1] + np.diff(before[offsets])

    def targets(self, period: int) -> Rows:
        """Return a row for each event of a period whose user has earlier events.

        The history of a row ends before its target, so it may include events of the same period.
        """
        rows = all_rows(self.interactions)
        return rows.take(self.period[rows.end] == period)

    def counts(self, period: int) -> Ints:
        """Return the events of each item by the end of ``period``, ``[items + 1]``."""
        items = self.interactions.items[self.period <= period]
        return np.bincount(items, minlength=self.interactions.item_count + 1)

    def existing(self, period: int) -> Ints:
        """Return the items that have appeared by the end of ``period``, ascending."""
        return np.flatnonzero(self.first_period <= period)

    def appearing(self, period: int) -> Ints:
        """Return the items whose first event is in ``period``, ascending."""
        return np.flatnonzero(self.first_period == period)


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
