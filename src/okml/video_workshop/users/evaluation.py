"""Evaluation of recommenders: ranks among all existing items, and AUC of exposed ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from okml.seqrec.batches import LastTargetBatch
from okml.seqrec.interactions import Ints
from okml.seqrec.metrics import Floats
from okml.seqrec.ranking import Ranks, rank_rows
from okml.seqrec.rows import Rows
from okml.seqrec.scorers import ChunkScores, Scorer, product_scorer
from okml.video_workshop.data import Watched
from okml.video_workshop.users.batches import AskedBatch, RequestBatch, RequestBatches
from okml.video_workshop.users.downstream import Ranking, Related, Retrieval

# Maps items ``[m]`` to the scores of all items as related ones, a new tensor ``[m, V + 1]``.
ItemScores = Callable[[Tensor], Tensor]


def retrieval_ranks(
    recommender: Retrieval, source: RequestBatches, first_seen: Ints, batch_size: int
) -> Ranks:
    """Rank each request's target among the items that existed and were new to its user.

    Half of the ties precede the target.

    Args:
        recommender: Retrieval model to evaluate.
        source: Test requests with their histories.
        first_seen: Time of each item's first event, ``[V + 1]``.
        batch_size: Number of requests that are encoded together.
    """
    recommender.eval()
    scorer = product_scorer(
        lambda batch: recommender.vectors(cast(RequestBatch, batch)),
        recommender.model.item_matrix(),
    )
    return rank_rows(
        only_existing(scorer, torch.from_numpy(first_seen)),
        source,
        hide_seen=True,
        ties="middle",
        batch_size=batch_size,
    )


def only_existing(scorer: Scorer, first_seen: Tensor) -> Scorer:
    """Give a score of minus infinity to items whose first event is later than the request."""

    def existing(batch: LastTargetBatch) -> ChunkScores:
        asked = cast(AskedBatch, batch).asked
        known, scores = first_seen.to(asked.device), scorer(batch)

        def masked(rows: Tensor, first: int, last: int) -> Tensor:
            missing = known[None, first:last] > asked[rows][:, None]
            return scores(rows, first, last).masked_fill_(missing, -torch.inf)

        return masked

    return existing


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of items that a user liked one after the other.

    Attributes:
        first: First item of each pair, ``[m]``.
        second: Item liked next, ``[m]``.
        users: User of each pair, ``[m]``.
        times: Time of the second item's event in seconds, ``[m]``.
    """

    first: Ints
    second: Ints
    users: Ints
    times: Ints


def liked_pairs(watched: Watched, rows: Rows) -> Pairs:
    """Return the pairs of consecutive liked items of a user among ``rows``."""
    events = watched.interactions
    liked = rows.take(watched.liked[rows.end])
    follows = np.flatnonzero(liked.user[1:] == liked.user[:-1])
    first, second = liked.end[follows], liked.end[follows + 1]
    return Pairs(
        events.items[first].astype(np.int64),
        events.items[second].astype(np.int64),
        liked.user[follows].astype(np.int64),
        events.times[second],
    )


@torch.inference_mode()
def related_ranks(scores: ItemScores, pairs: Pairs, first_seen: Ints, batch_size: int) -> Ranks:
    """Rank the second item of each pair among all existing items except the first one.

    Half of the ties precede the second item.

    Args:
        scores: Function from the first items to the scores of all items.
        pairs: Test pairs of liked items.
        first_seen: Time of each item's first event, ``[V + 1]``; only existing items are ranked.
        batch_size: Number of pairs whose scores are held at a time.
    """
    known = torch.from_numpy(first_seen)
    ranks = [np.empty(0)]
    for start in range(0, len(pairs.first), batch_size):
        part = slice(start, start + batch_size)
        columns = (pairs.first[part], pairs.second[part], pairs.times[part])
        found = scores(torch.from_numpy(columns[0]))  # [b, V + 1]
        known = known.to(found.device)
        first, second, asked = (torch.from_numpy(c).to(found.device)[:, None] for c in columns)
        target = found.gather(1, second)
        found.masked_fill_(known > asked, -torch.inf)
        found.scatter_(1, torch.cat([first, second], 1), -torch.inf)
        before = (found > target).sum(1) + 0.5 * (found == target).sum(1)
        ranks.append((1 + before).cpu().numpy().astype(np.float64))
    return np.concatenate(ranks)


@torch.inference_mode()
def by_cosine(matrix: Tensor) -> ItemScores:
    """Score by the cosine of two items' vectors ``[V + 1, d]``."""
    unit = torch.nn.functional.normalize(matrix.float(), dim=1)
    return lambda items: unit[items.to(unit.device)] @ unit.T


@torch.inference_mode()
def by_related(recommender: Related) -> ItemScores:
    """Score by the inner products of a recommender of related items."""
    recommender.eval()
    matrix = recommender.model.item_matrix().float()
    return lambda items: recommender.of_items(items.to(matrix.device)).float() @ matrix.T


@torch.inference_mode()
def ranking_logits(recommender: Ranking, source: RequestBatches, batch_size: int) -> Floats:
    """Return the logits of each request's target, ``[r, tasks]``."""
    recommender.eval()
    device = next(recommender.parameters()).device
    rng = np.random.default_rng(0)  # for the negatives, which are not used
    places = range(0, len(source), batch_size)
    batches = (
        source.batch(np.arange(start, min(start + batch_size, len(source))), rng)
        for start in places
    )
    logits = [recommender.requested(batch.to(device)).float().cpu() for batch in batches]
    return torch.cat(logits).numpy().astype(np.float64)


def user_auc(scores: Floats, labels: NDArray[np.bool_], users: NDArray[np.integer]) -> Floats:
    """Return for each row the AUC of its user, ``[r]``; NaN where all labels of a user agree.

    The mean over rows that are not NaN is GAUC, users weighted by their impressions.
    """
    found = np.full(len(users), np.nan)
    order = np.argsort(users, kind="stable")
    borders = np.flatnonzero(np.diff(users[order])) + 1
    for mine in np.split(order, borders):
        wanted = labels[mine]
        positive, negative = wanted.sum(), (~wanted).sum()
        if positive and negative:
            # Mann-Whitney U: the number of pairs whose positive scores above the negative.
            above = rankdata(scores[mine])[wanted].sum() - positive * (positive + 1) / 2
            found[mine] = above / (positive * negative)
    return found
