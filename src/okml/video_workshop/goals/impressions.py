"""Logs of impressions and responses, and their batches, which rankers and policies learn from.

The simulator makes such logs, and KuaiRand is one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.seqrec.batches import Batch
from okml.seqrec.interactions import Ints
from okml.training.batches import Indices
from okml.video_workshop.common.data import Watched
from okml.video_workshop.common.training import batches_of

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


AT_A_TIME = 4096  # requests in one part of a log


@dataclass(frozen=True, eq=False)
class ImpressionBatch(Batch):
    """Requests and their responses; items are numbered from 1, users from 0.

    Attributes:
        numbers: Number of each request in the log, ``[b]``.
        users: User of each request, ``[b]``.
        recent: Last clicked items, the newest last, ``[b, t]``; 0 where there is none.
        turns: Number of the request in its session, ``[b]``.
        items: Shown items, ``[b, k]``.
        responses: Responses to each shown item, in the order of ``RESPONSES``, ``[b, k, 4]``.
        later: Discounted mean responses to the later requests of the session, ``[b, 4]``.
        candidates: Candidate items, ``[b, c]``; None: all items, in the order of their numbers.
        propensity: Probability of each shown item to be the first of the slate, ``[b, k]``.
        places: Place of each shown item among the candidates, ``[b, k]``.
        next_recent: Last clicked items of the user's next request, ``[b, t]``.
        next_turns: Number of the user's next request in its session, ``[b]``.
        continued: Whether the log has a next request, ``[b]``.
    """

    numbers: Tensor
    users: Tensor
    recent: Tensor
    turns: Tensor
    items: Tensor
    responses: Tensor
    later: Tensor
    candidates: Tensor | None
    propensity: Tensor
    places: Tensor
    next_recent: Tensor
    next_turns: Tensor
    continued: Tensor

    def response(self, name: str) -> Tensor:
        """Return one of the responses, ``[b, k]``."""
        return self.responses[..., RESPONSES.index(name)]


class ImpressionBatches:
    """A source whose examples are the requests of a log.

    Args:
        log: Impressions with their states.
        device: Device of the batches.
        gamma: Discount factor of later requests of a session.
    """

    def __init__(self, log: Impressions, device: torch.device, gamma: float = 0.0) -> None:
        self.log = log
        self.device = device
        self.following, self.continued = next_requests(log.users)
        self.responses = log.responses()
        means = self.responses.mean(1)  # [r, 4]
        in_session = self.continued & (log.sessions[self.following] == log.sessions)
        self.later = later_sums(means, self.following, in_session, log.turns, gamma)
        self.places = log.items
        if log.candidates is not None:
            self.places = np.stack(
                [(log.candidates == shown[:, None]).argmax(1) for shown in log.items.T], axis=1
            )

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self.log.users)

    def batch(self, indices: Indices, rng: np.random.Generator) -> ImpressionBatch:
        """Return the batch of some requests; ``rng`` is not used."""
        log, after = self.log, self.following[indices]
        choice = log.candidates
        return ImpressionBatch(
            numbers=self._whole(indices),
            users=self._whole(log.users[indices]),
            recent=self._whole(log.recent[indices] + 1),
            turns=self._whole(log.turns[indices]),
            items=self._whole(log.items[indices] + 1),
            responses=self._real(self.responses[indices]),
            later=self._real(self.later[indices]),
            candidates=None if choice is None else self._whole(choice[indices] + 1),
            propensity=self._real(log.propensity[indices]),
            places=self._whole(self.places[indices]),
            next_recent=self._whole(log.recent[after] + 1),
            next_turns=self._whole(log.turns[after]),
            continued=self._real(self.continued[indices]),
        )

    def each(self, compute: Callable[[ImpressionBatch], Tensor]) -> Tensor:
        """Apply a function to all requests, part by part, and return its values, ``[r, ...]``."""
        return torch.cat([compute(batch) for batch in batches_of(self, AT_A_TIME)])

    def _whole(self, values: NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(values.astype(np.int64)).to(self.device)

    def _real(self, values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self.device)


def next_requests(users: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the next request of each request's user, or itself, and whether there is one.

    Args:
        users: User of each request, in the order of time, ``[r]``.
    """
    order = np.argsort(users, kind="stable")
    same = users[order[1:]] == users[order[:-1]]
    following = np.arange(len(users))
    following[order[:-1][same]] = order[1:][same]
    return following, following != np.arange(len(users))


def later_sums(
    values: NDArray[np.floating],
    following: NDArray[np.int64],
    continued: NDArray[np.bool_],
    turns: NDArray[np.int64],
    gamma: float,
) -> NDArray[np.float64]:
    """Return the discounted sums of values after each request in its session, ``[r, m]``.

    Args:
        values: Values of each request, ``[r, m]``.
        following: Number of the user's next request, ``[r]``.
        continued: Whether the next request is in the same session, ``[r]``.
        turns: Number of each request in its session, ``[r]``.
        gamma: Discount factor per request.
    """
    found = np.zeros(values.shape)
    for turn in range(int(turns.max()) - 1, -1, -1):
        rows = np.flatnonzero(continued & (turns == turn))
        found[rows] = gamma * (values[following[rows]] + found[following[rows]])
    return found
