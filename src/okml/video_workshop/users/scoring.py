"""How a recommender ranks the targets of requests, or tells liked ones from others."""

from __future__ import annotations

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
from okml.seqrec.rows import Mask
from okml.seqrec.scorers import ChunkScores, Scorer, product_scorer
from okml.video_workshop.common.training import batches_of
from okml.video_workshop.users.batches import AskedBatch, RequestBatch, RequestBatches
from okml.video_workshop.users.downstream import RankingModel, Retrieval


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


@torch.inference_mode()
def ranking_logits(recommender: RankingModel, source: RequestBatches, batch_size: int) -> Floats:
    """Return the logits of each request's target, ``[r, tasks]``."""
    recommender.eval()
    device = next(recommender.parameters()).device
    logits = [
        recommender.requested(batch.to(device)).float().cpu()
        for batch in batches_of(source, batch_size)
    ]
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


def auc_rows(logits: Floats, labels: Mask, users: NDArray[np.integer]) -> Floats:
    """Return the AUC of each row's user, a mean over tasks, ``[r]``; NaN where undefined.

    Args:
        logits: Logits of the rows, ``[r, tasks]``.
        labels: Labels of the rows, ``[r, tasks]``.
        users: User of each row, ``[r]``.
    """
    tasks = range(logits.shape[1])
    of_tasks = [user_auc(logits[:, n], labels[:, n], users) for n in tasks]
    defined = ~np.isnan(of_tasks)
    total, counted = np.where(defined, of_tasks, 0).sum(0), defined.sum(0)
    found: Floats = np.where(counted > 0, total / np.maximum(counted, 1), np.nan)
    return found
