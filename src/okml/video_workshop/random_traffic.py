"""What impressions that were drawn at random say about rankers and policies.

A service shows what its recommender likes, so its log judges a newcomer on the recommender's
choice. Where an item was drawn uniformly, nobody has chosen: the mean response to the items that a
ranker puts first is unbiased, and a policy's is a weighted mean whose weights are its chances
times the number of items there were. Both are about single impressions: which slots are drawn is
random too, and the state in which a user meets them comes from the usual recommender.
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
    """Return which impressions a ranker puts first, a share of each user's, ``[m]``.

    A user with n impressions has ``ceil(share n)`` of them here, whatever the scores, so two
    rankers' selections belong together place by place: users rise, and within a user scores fall.
    Equal scores stand in random order.

    Args:
        users: Of impressions, ``[n]``.
        scores: ``[n]``.
        share: Above 0, at most 1.
        seed: Of the order of equal scores.
    """
    order = np.lexsort((np.random.default_rng(seed).random(len(users)), -scores, users))
    _, starts, counts = np.unique(users[order], return_index=True, return_counts=True)
    place = np.arange(len(users)) - np.repeat(starts, counts)
    # Rounded first: 0.1 * 30 is a little more than 3.
    kept = np.ceil(np.round(share * counts, 9))
    return order[place < np.repeat(kept, counts)]


@torch.no_grad()
def uniform_ratios(policy: SoftmaxPolicy, source: RequestBatches) -> Floats:
    """Return a policy's chance of each shown item over that of a uniform draw, ``[r, k]``.

    Args:
        policy: In evaluation mode.
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
        users: Of rows, ``[n]``.
        columns: ``[n, m]``.
    """
    unique, code = np.unique(users, return_inverse=True)
    return unique, np.stack([np.bincount(code, column) for column in columns.T], axis=1)


def estimate_gain(
    sums: Mapping[int, Floats], relative: bool = False, less: Mapping[int, Floats] | None = None
) -> Estimate:
    """Return a gain, or how far it is above another one, with its interval over users and seeds.

    Args:
        sums: By seed, of each user the weighted response and the weight of the new, then of the
            old, ``[u, 4]``; zeros where a seed has nothing of a user.
        relative: The gain in percent of the old instead of the difference.
        less: Sums of the other gain, of the same users.
    """

    def gain_of(rows: Floats) -> float:
        new, new_weight, old, old_weight = rows.sum(0)
        new, old = new / new_weight, old / old_weight
        return float(100 * (new / old - 1) if relative else new - old)

    def gain(users: Ints, seed: int) -> float:
        return gain_of(sums[seed][users]) - (gain_of(less[seed][users]) if less else 0)

    count = len(next(iter(sums.values())))
    return estimate_statistic(gain, count, "users", seeds=list(sums))
