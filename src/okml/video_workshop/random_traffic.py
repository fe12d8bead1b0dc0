"""What impressions that were drawn at random say about rankers and policies.

A service shows what its recommender likes, so its log judges a newcomer on the recommender's
choice. Where an item was drawn uniformly, nobody has chosen: the mean response to the items that a
ranker puts first is unbiased, and a policy's is a weighted mean whose weights are its chances
times the number of items there were. Both are about single impressions: which slots are drawn is
random too, and the state in which a user meets them comes from the usual recommender.
"""

from __future__ import annotations

import numpy as np
import torch

from okml.seqrec.bootstrap import resampled_means
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


def gain_interval(sums: Floats, resamples: int, relative: bool = False) -> tuple[float, float]:
    """Return the 95 % interval of a gain averaged over seeds, users resampled.

    A user who is drawn comes with what they did under every seed.

    Args:
        sums: Of each seed and user the weighted response and the weight of the new, then of the
            old, ``[s, u, 4]``; zeros where a seed has nothing of a user.
        resamples: Number of resamples.
        relative: The gain in percent of the old instead of the difference.
    """
    seeds, users, _ = sums.shape
    of_users = sums.swapaxes(0, 1).reshape(users, -1)
    drawn = resampled_means(of_users, np.arange(users), resamples).reshape(-1, seeds, 4)
    new, old = drawn[..., 0] / drawn[..., 1], drawn[..., 2] / drawn[..., 3]  # [resamples, s]
    gains = 100 * (new / old - 1) if relative else new - old
    low, high = np.quantile(gains.mean(1), [0.025, 0.975])
    return float(low), float(high)
