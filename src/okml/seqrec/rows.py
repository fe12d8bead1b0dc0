"""What is predicted from what: rows of one target each, and windows of a target per position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions, Ints

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Rows:
    """Predictions to make: the event ``end`` from all earlier events of its user.

    Row ``r`` has the history ``items[offsets[user[r]] : end[r]]`` and the target ``items[end[r]]``.
    Rows stand in the order of events, so those of one user are neighbors, oldest first.

    Attributes:
        user: int32 ``[r]``.
        end: Position of the target among all events, ``[r]``.
    """

    user: NDArray[np.int32]
    end: Ints

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.end)

    def take(self, which: Mask | Ints) -> Self:
        """Return some of the rows."""
        return type(self)(self.user[which], self.end[which])

    def history_lengths(self, interactions: Interactions) -> Ints:
        """Return the number of events before each target, ``[r]``."""
        return self.end - interactions.offsets[self.user]


def all_rows(interactions: Interactions) -> Rows:
    """Return a row for every event but each user's first, which has no history."""
    user = interactions.users()
    end = np.arange(len(interactions))
    later = end > interactions.offsets[user]
    return Rows(user[later], end[later])


def full_only(interactions: Interactions, rows: Rows, length: int) -> Rows:
    """Return the rows with at least ``length`` events before the target: no padding is needed."""
    return rows.take(rows.history_lengths(interactions) >= length)


def most_recent(rows: Rows, cap: int) -> Rows:
    """Return at most ``cap`` rows of each user, the newest.

    Raises:
        ParameterError: If the cap is not positive.
    """
    if cap < 1:
        raise ParameterError(f"A cap of {cap} rows a user leaves none; it must be at least 1.")
    _, first, count = np.unique(rows.user, return_index=True, return_counts=True)
    from_end = np.repeat(first + count, count) - np.arange(len(rows))  # 1 for the newest
    return rows.take(from_end <= cap)


@dataclass(frozen=True, eq=False)
class Windows:
    """Slices of histories for a model that predicts at every position.

    The inputs of a window are its events but the last, its targets its events but the first. The
    windows of one user share no target and have all of them. They are counted from the newest
    event backwards, so the oldest window is the short one.

    Attributes:
        user: int32 ``[w]``.
        stop: One past the newest event, ``[w]``.
        limit: One past the newest event that training may see of this user, ``[w]``.
        slack: How many targets the user's oldest window is short of ``length``, ``[w]``.
        length: Most inputs of a window.
    """

    user: NDArray[np.int32]
    stop: Ints
    limit: Ints
    slack: Ints
    length: int

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.stop)

    def bounds(
        self, interactions: Interactions, which: Ints, rng: np.random.Generator | None = None
    ) -> tuple[Ints, Ints]:
        """Return the first event, and one past the last, of some windows.

        Args:
            interactions: What the windows were cut from.
            which: Numbers of windows, ``[b]``.
            rng: If given, each window is moved toward the newer events by 0 to ``slack`` places.
                The number of windows stays, none is empty, and over the draws every target is
                trained as often as every other, at places that differ from epoch to epoch.
        """
        stop = self.stop[which]
        if rng is not None:
            stop = stop + rng.integers(0, self.slack[which], endpoint=True)
        start = np.maximum(stop - self.length - 1, interactions.offsets[self.user[which]])
        return start, np.minimum(stop, self.limit[which])


def cut_windows(
    interactions: Interactions, limit: Ints, length: int, per_user: int | None = None
) -> Windows:
    """Cut the training part of each history into windows.

    Args:
        interactions: All events.
        limit: One past the newest event that training may see of each user, ``[u]``: the
            ``train_end`` of a split.
        length: Most inputs of a window.
        per_user: Keep this many windows of each user, the newest. The original SASRec keeps one.

    Raises:
        ParameterError: If a length or number is not positive, or nothing can be trained on.
    """
    if length < 1 or (per_user is not None and per_user < 1):
        raise ParameterError("The length of windows and their number a user must be at least 1.")
    targets = np.maximum(limit - interactions.offsets[:-1] - 1, 0)  # [u]
    needed = -(-targets // length)
    kept = needed if per_user is None else np.minimum(needed, per_user)
    user = np.repeat(np.arange(interactions.user_count, dtype=np.int32), kept)
    if not len(user):
        raise ParameterError("No user has two events to train on.", "Choose an earlier split.")
    # 0 for the newest window of each user, counting back
    age = np.arange(len(user)) - np.repeat(np.cumsum(kept) - kept, kept)
    return Windows(
        user=user,
        stop=limit[user] - age * length,
        limit=limit[user],
        slack=(needed * length - targets)[user],
        length=length,
    )
