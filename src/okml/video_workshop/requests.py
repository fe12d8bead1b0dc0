"""A log of impressions as batches of requests, which rankers and policies learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.seqrec.batches import Batch
from okml.training.batches import Indices
from okml.video_workshop.impressions import RESPONSES, Impressions

AT_A_TIME = 4096  # requests in one part of a log


@dataclass(frozen=True, eq=False)
class RequestBatch(Batch):
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


class RequestBatches:
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

    def batch(self, indices: Indices, rng: np.random.Generator) -> RequestBatch:
        """Return the batch of some requests; ``rng`` is not used."""
        log, after = self.log, self.following[indices]
        choice = log.candidates
        return RequestBatch(
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

    def each(self, compute: Callable[[RequestBatch], Tensor]) -> Tensor:
        """Apply a function to all requests, part by part, and return its values, ``[r, ...]``."""
        rng, every = np.random.default_rng(0), np.arange(len(self))
        parts = [every[start : start + AT_A_TIME] for start in range(0, len(self), AT_A_TIME)]
        return torch.cat([compute(self.batch(part, rng)) for part in parts])

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
