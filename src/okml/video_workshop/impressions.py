"""A log of impressions and responses, in the form that learners read.

The simulator makes such logs, and KuaiRand is one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from okml.seqrec.interactions import Ints
from okml.video_workshop.data import Watched

RESPONSES = ("click", "watch", "like", "hate")
NOBODY = -1  # padding of the last clicked items

DAY = 86_400
UTC_OFFSET = 8 * 3_600  # seconds; KuaiRand's days are those of Beijing
SESSION_GAP = 30 * 60  # seconds without an impression that end a session


@dataclass(frozen=True, eq=False)
class Audience:
    """The users and the items of a log.

    Attributes:
        users: Number of users.
        content: Content features of items, ``[items + 1, d]``; row 0 is padding.
    """

    users: int
    content: NDArray[np.float32]

    @property
    def items(self) -> int:
        """Number of items."""
        return len(self.content) - 1


@dataclass(frozen=True, eq=False)
class Impressions:
    """Requests with the shown items and responses, those of a user in the order of time.

    Users and items are numbered from 0.

    Attributes:
        days: Day of each request, counted from the first of the log, ``[r]``.
        turns: Number of the request in its session, from 0, ``[r]``.
        sessions: Number of the session, ``[r]``, distinct for the sessions of a user.
        users: User of each request, ``[r]``.
        items: Shown items, ``[r, k]``.
        clicked: Whether each shown item was clicked, ``[r, k]``.
        watched: Watching of each shown item in [0, 1], ``[r, k]``; its meaning depends on the log.
        liked: Whether each shown item was liked, ``[r, k]``.
        hated: Whether each shown item was hated, ``[r, k]``.
        propensity: Probability of each shown item to be the first of the slate, ``[r, k]``; NaN if
            unknown.
        candidates: Candidate items, ``[r, c]``; None: all items.
        recent: Last clicked items, the newest last, ``[r, t]``; ``NOBODY`` where there is none.
        random: Whether the items were drawn uniformly, ``[r]``.
    """

    days: Ints
    turns: Ints
    sessions: Ints
    users: Ints
    items: Ints
    clicked: NDArray[np.bool_]
    watched: NDArray[np.float32]
    liked: NDArray[np.bool_]
    hated: NDArray[np.bool_]
    propensity: NDArray[np.float32]
    candidates: NDArray[np.int32] | None
    recent: NDArray[np.int32]
    random: NDArray[np.bool_]

    NOT_OF_REQUESTS: ClassVar[tuple[str, ...]] = ()  # fields without a row for each request

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self.users)

    def where(self, rows: NDArray[np.bool_]) -> Self:
        """Return some of the requests, with their clicked items of the whole log."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self,
            **{
                name: part[rows]
                for name, part in parts.items()
                if part is not None and name not in self.NOT_OF_REQUESTS
            },
        )

    def responses(self) -> NDArray[np.float32]:
        """Return the responses to each shown item, in the order of ``RESPONSES``, ``[r, k, 4]``."""
        parts = (self.clicked, self.watched, self.liked, self.hated)
        return np.stack([part.astype(np.float32) for part in parts], axis=-1)


def of_watched(watched: Watched, recent: int) -> Impressions:
    """Return a log of impressions as requests of one item each, with all items as candidates.

    Watching is a long view here, 0 or 1, which implies a click as in the simulator: Kuaishou's long
    views last 18 s or the whole of a shorter video, its clicks 7 s or the whole.

    Args:
        watched: Log with the signals ``click``, ``long_view``, ``like`` and ``hate``, and random
            slots.
        recent: Number of last clicked items of a request, t.
    """
    log = watched.interactions
    users, times = log.users().astype(np.int64), log.times
    signals = {name: watched.kinds.members[watched.actions, place]
               for place, name in enumerate(watched.kinds.signals)}  # fmt: skip
    days = (times + UTC_OFFSET) // DAY
    random = np.zeros(len(users), bool) if watched.random is None else watched.random
    chance = np.where(random, 1 / log.item_count, np.nan)
    turns = places_in_session(users, times)
    return Impressions(
        days=(days - days.min()).astype(np.int64),
        turns=turns,
        sessions=np.cumsum(turns == 0),
        users=users,
        items=log.items.astype(np.int64)[:, None] - 1,
        clicked=signals["click"][:, None],
        watched=signals["long_view"].astype(np.float32)[:, None],
        liked=signals["like"][:, None],
        hated=signals["hate"][:, None],
        propensity=chance.astype(np.float32)[:, None],
        candidates=None,
        recent=clicked_before(users, log.items.astype(np.int64) - 1, signals["click"], recent),
        random=random,
    )


def places_in_session(users: Ints, times: Ints) -> Ints:
    """Return the number of each impression in its session, from 0, ``[e]``.

    Args:
        users: User of each impression, grouped by user, ``[e]``.
        times: Time in seconds, rising within a user, ``[e]``.
    """
    starts = np.ones(len(users), bool)
    starts[1:] = (np.diff(users) != 0) | (np.diff(times) > SESSION_GAP)
    numbers = np.arange(len(users))
    return numbers - np.maximum.accumulate(np.where(starts, numbers, 0))


def clicked_before(
    users: Ints, items: Ints, clicked: NDArray[np.bool_], count: int
) -> NDArray[np.int32]:
    """Return the items that each impression's user had clicked last, the newest last, ``[e, t]``.

    Args:
        users: User of each impression, grouped by user, ``[e]``.
        items: Item of each impression, ``[e]``.
        clicked: Whether each impression was clicked, ``[e]``.
        count: Number of last clicked items, t.
    """
    before: Ints = np.cumsum(clicked) - clicked  # clicks of all users before an impression
    starts = np.searchsorted(users, users)  # first impression of the user
    places = before[:, None] - np.arange(count, 0, -1)  # among all clicks, the newest last
    clicks = items[clicked]
    own = places >= before[starts][:, None]
    found = np.full(places.shape, NOBODY, dtype=np.int32)
    found[own] = clicks[places[own]]
    return found
