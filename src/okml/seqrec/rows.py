"""Prediction examples: rows with one target each, and windows with a target at each position."""

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
    """Predictions of the event ``end`` from all earlier events of its user.

    Row ``r`` has the history ``items[offsets[user[r]] : end[r]]`` and the target ``items[end[r]]``.
    Rows are in the order of events, so those of one user are neighbors, oldest first.

    Attributes:
        user: The user of each row, int32 ``[r]``.
        end: The index of each target among all events, ``[r]``.
    """

    user: NDArray[np.int32]
    end: Ints

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.end)

    def take(self, which: Mask | Ints) -> Self:
        """Return the rows ``which``, a mask ``[r]`` or indices."""
        return type(self)(self.user[which], self.end[which])

    def join(self, other: Self) -> Self:
        """Return the rows of both."""
        return type(self)(
            np.concatenate([self.user, other.user]), np.concatenate([self.end, other.end])
        )


def all_rows(interactions: Interactions) -> Rows:
    """Return a row for every event except each user's first, which has no history."""
    user = interactions.users()
    end = np.arange(len(interactions))
    later = end > interactions.offsets[user]
    return Rows(user[later], end[later])


def full_only(interactions: Interactions, rows: Rows, length: int) -> Rows:
    """Return the rows with at least ``length`` events before the target, without padding."""
    return rows.take(rows.end - interactions.offsets[rows.user] >= length)


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
    windows of one user partition the targets. They are cut from the newest event backwards, so
    the oldest window is the short one.

    Attributes:
        user: The user of each window, int32 ``[w]``.
        stop: One past the newest event of each window, ``[w]``.
        limit: One past the newest training event of the window's user, ``[w]``.
        slack: The number of targets missing from the user's oldest window, ``[w]``.
        length: The largest number of inputs of a window.
    """

    user: NDArray[np.int32]
    stop: Ints
    limit: Ints
    slack: Ints
    length: int

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.stop)

    def take(self, which: Mask | Ints) -> Self:
        """Return the windows ``which``, a mask ``[w]`` or indices."""
        return type(self)(
            self.user[which], self.stop[which], self.limit[which], self.slack[which], self.length
        )

    def join(self, other: Self) -> Self:
        """Return the windows of both, which must have the same length."""
        return type(self)(
            np.concatenate([self.user, other.user]),
            np.concatenate([self.stop, other.stop]),
            np.concatenate([self.limit, other.limit]),
            np.concatenate([self.slack, other.slack]),
            self.length,
        )

    def bounds(
        self, interactions: Interactions, which: Ints, rng: np.random.Generator | None = None
    ) -> tuple[Ints, Ints]:
        """Return the first event, and one past the last, of some windows.

        Args:
            interactions: The events that the windows were cut from.
            which: The indices of windows, ``[b]``.
            rng: A generator that moves each window toward the newer events by 0 to ``slack``
                positions; None for no move. The number of windows stays, none is empty, and over
                the draws every target is trained equally often, at positions that differ between
                epochs.
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
        interactions: The events of all users.
        limit: One past the newest training event of each user, ``[u]``: the ``train_end`` of a
            split.
        length: The largest number of inputs of a window.
        per_user: The number of windows to keep of each user, the newest ones; None for all. The
            original SASRec keeps one.

    Raises:
        ParameterError: If a length or number is not positive, or there are no windows.
    """
    if length < 1 or (per_user is not None and per_user < 1):
        raise ParameterError("The length of windows and their number a user must be at least 1.")
    targets = np.maximum(limit - interactions.offsets[:-1] - 1, 0)  # [u]
    needed = -(-targets // length)
    kept = needed if per_user is None else np.minimum(needed, per_user)
    user = np.repeat(np.arange(interactions.user_count, dtype=np.int32), kept)
    if not len(user):
        raise ParameterError("No user has two events to train on.", "Choose an earlier split.")
    # Count back from the newest window of each user, which has the age 0.
    age = np.arange(len(user)) - np.repeat(np.cumsum(kept) - kept, kept)
    return Windows(
        user=user,
        stop=limit[user] - age * length,
        limit=limit[user],
        slack=(needed * length - targets)[user],
        length=length,
    )
