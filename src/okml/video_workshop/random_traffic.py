"""Unbiased evaluation of rankers and policies on random impressions.

The log of a service is biased by the choices of its recommender. On uniformly drawn items, the mean
response to the items that a ranker puts first is unbiased, and that of a policy is a weighted mean
whose weights are its probabilities times the number of candidates. Both concern single impressions:
random slots occur in states that the usual recommender has produced.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from okml.ledger import Estimate, estimate_statistic
from okml.video_workshop.policies.network import SoftmaxPolicy
from okml.video_workshop.requests import RequestBatches
from okml.video_workshop.simulator.world import Floats, Ints


def first_of_each_user(users: Ints, scores: Floats, share: float, seed: int = 0) -> Ints:
    """Return the top impressions of a ranker, a share of each user's, ``[m]``.

    A user with n impressions has ``ceil(share n)`` of them here for any scores, so the selections
    of two rankers are paired by position: they are sorted by user, then by descending score, with
    ties in random order.

    Args:
        users: User of each impression, ``[n]``.
        scores: Score of each impression, ``[n]``.
        share: Share of a user's impressions, above 0 and at most 1.
        seed: Random seed of the order of ties.
    """
    order = np.lexsort((np.random.default_rng(seed).random(len(users)), -scores, users))
    _, starts, counts = np.unique(users[order], return_index=True, return_counts=True)
    place = np.arange(len(users)) - np.repeat(starts, counts)
    # Rounding first, because 0.1 * 30 is slightly more than 3 in floating point.
    kept = np.ceil(np.round(share * counts, 9))
    return order[place < np.repeat(kept, counts)]


@torch.no_grad()
def uniform_ratios(policy: SoftmaxPolicy, source: RequestBatches) -> Floats:
    """Return the importance ratios of shown items against a uniform draw, ``[r, k]``.

    Args:
        policy: Policy in evaluation mode.
        source: Requests whose items were drawn uniformly from their candidates.
    """
    choice = source.log.candidates
    count = policy.item.num_embeddings - 1 if choice is None else choice.shape[1]
    log_prob = source.each(lambda batch: policy.of_shown(batch)[0]).double().cpu().numpy()
    found: Floats = count * np.exp(log_prob)
    return found


def user_sums(users: Ints, columns: Floats) -> tuple[Ints, Floats]:
    """Return the users of rows, ``[u]``, and the sum of the rows of each, ``[u, m]``.

    Args:
        users: User of each row, ``[n]``.
        columns: Values to sum, ``[n, m]``.
    """
    unique, code = np.unique(users, return_inverse=True)
    return unique, np.stack([np.bincount(code, column) for column in columns.T], axis=1)


def estimate_gain(
    sums: Mapping[int, Floats], relative: bool = False, less: Mapping[int, Floats] | None = None
) -> Estimate:
    """Return a gain, or its difference from another one, with its interval over users and seeds.

    Args:
        sums: Sums of each user by seed, ``[u, 4]``: weighted response and weight of the new, then
            of the old; zeros for users without rows.
        relative: Whether the gain is in percent of the old instead of a difference.
        less: Sums of the other gain, for the same users.
    """

    def gain_of(rows: Floats) -> float:
        new, new_weight, old, old_weight = rows.sum(0)
        new, old = new / new_weight, old / old_weight
        return float(100 * (new / old - 1) if relative else new - old)

    def gain(users: Ints, seed: int) -> float:
        return gain_of(sums[seed][users]) - (gain_of(less[seed][users]) if less else 0)

    count = len(next(iter(sums.values())))
    return estimate_statistic(gain, count, "users", seeds=list(sums))
