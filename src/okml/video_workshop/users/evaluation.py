"""Evaluation of recommenders on the same test rows, paired by user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score
from torch import Tensor

from okml.ledger import Estimate, estimate_difference, estimate_ratio
from okml.seqrec.batches import LastTargetBatch
from okml.seqrec.comparison import RankedArms
from okml.seqrec.interactions import Ints
from okml.seqrec.metrics import Floats
from okml.seqrec.ranking import Ranks, rank_rows
from okml.seqrec.rows import Mask, Rows
from okml.seqrec.scorers import ChunkScores, Scorer, product_scorer
from okml.video_workshop.common.data import Watched
from okml.video_workshop.common.training import batches_of
from okml.video_workshop.users.batches import AskedBatch, RequestBatch, RequestBatches
from okml.video_workshop.users.downstream import RankingModel, Related, Retrieval
from okml.video_workshop.users.study import UsersStudy

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
class ItemPairs:
    """ItemPairs of items that a user liked one after the other.

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


def liked_pairs(watched: Watched, rows: Rows) -> ItemPairs:
    """Return the pairs of consecutive liked items of a user among ``rows``."""
    events = watched.interactions
    liked = rows.take(watched.liked[rows.end])
    follows = np.flatnonzero(liked.user[1:] == liked.user[:-1])
    first, second = liked.end[follows], liked.end[follows + 1]
    return ItemPairs(
        events.items[first].astype(np.int64),
        events.items[second].astype(np.int64),
        liked.user[follows].astype(np.int64),
        events.times[second],
    )


@torch.inference_mode()
def related_ranks(scores: ItemScores, pairs: ItemPairs, first_seen: Ints, batch_size: int) -> Ranks:
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


METRIC = "ndcg@10"  # of retrieval
RELATED_METRIC = "hr@10"
Task = Literal["retrieval", "ranking", "related"]
TASKS: tuple[Task, ...] = ("retrieval", "ranking", "related")


@dataclass
class PairedEvaluation:
    """Evaluates recommenders on the same test rows, and keeps their ranks and logits.

    Attributes:
        study: Study of the recommenders.
        batch: Number of requests or item pairs that are ranked together.
    """

    study: UsersStudy
    batch: int

    def __post_init__(self) -> None:
        self.retrieved = RankedArms(self.study.liked_test.user)
        self.related = RankedArms(self.pairs.users)
        self.logits: dict[tuple[str, int], Floats] = {}
        self._gauc_rows: dict[tuple[str, int], Floats] = {}

    @cached_property
    def pairs(self) -> ItemPairs:
        """Test pairs of related items."""
        return liked_pairs(self.study.watched, self.study.test)

    @cached_property
    def labels(self) -> Mask:
        """Labels of each test target, ``[r, tasks]``."""
        return self.study.labels[self.study.watched.actions[self.study.test.end]]

    def retrieval(self, name: str, seed: int, recommender: Retrieval) -> None:
        """Rank the liked items of the test."""
        source, first_seen = (
            self.study.requests(self.study.liked_test),
            self.study.watched.first_seen,
        )
        ranks = retrieval_ranks(recommender, source, first_seen, self.batch)
        self.retrieved.add(name, seed, ranks)

    def ranking(self, name: str, seed: int, recommender: RankingModel) -> None:
        """Predict the labels of each test item."""
        source = self.study.requests(self.study.test)
        self.logits[name, seed] = ranking_logits(recommender, source, self.batch)

    def relation(self, name: str, seed: int, scores: ItemScores) -> None:
        """Rank the second items of the test pairs by scores of all items."""
        first_seen = self.study.watched.first_seen
        ranks = related_ranks(scores, self.pairs, first_seen, self.batch)
        self.related.add(name, seed, ranks)

    def gauc_rows(self, name: str, seed: int) -> Floats:
        """Return the AUC of each row's user, a mean over tasks, ``[r]``; NaN where undefined."""
        if (name, seed) in self._gauc_rows:
            return self._gauc_rows[name, seed]
        logits = self.logits[name, seed]
        of_tasks = [
            user_auc(logits[:, task], self.labels[:, task], self.study.test.user)
            for task in range(logits.shape[1])
        ]
        defined = ~np.isnan(of_tasks)
        total = np.where(defined, of_tasks, 0).sum(0)
        counted = defined.sum(0)
        found: Floats = np.where(counted > 0, total / np.maximum(counted, 1), np.nan)
        self._gauc_rows[name, seed] = found
        return found

    def gauc(self, name: str, seed: int) -> float:
        """Return GAUC, the mean over tasks."""
        return float(np.nanmean(self.gauc_rows(name, seed)))

    def gauc_difference(self, name: str, reference: str, seeds: list[int]) -> Estimate:
        """Return the difference of two GAUCs with its interval."""
        kept = ~np.isnan(self.gauc_rows(reference, seeds[0]))  # labels decide, not the arm
        own, other = (
            {seed: self.gauc_rows(arm, seed)[kept] for seed in seeds} for arm in (name, reference)
        )
        return estimate_difference(own, other, "users", clusters=self.study.test.user[kept])

    def auc(self, name: str, seed: int) -> dict[str, float]:
        """Return the AUC over all rows by task."""
        logits, names = self.logits[name, seed], self.study.settings.ranked
        return {
            task: float(roc_auc_score(self.labels[:, place], logits[:, place]))
            for place, task in enumerate(names)
        }

    def value(self, task: Task, name: str, seed: int) -> float:
        """Return the metric of a task: NDCG@10, GAUC or HR@10."""
        if task == "ranking":
            return self.gauc(name, seed)
        arms, metric = self._ranked(task)
        return arms.metric(name, metric, seed)

    def difference(self, task: Task, name: str, reference: str) -> Estimate:
        """Return the difference of two arms in the task's metric, over their common seeds."""
        if task == "ranking":
            seeds = [seed for arm, seed in self.logits if arm == name]
            common = [seed for seed in seeds if (reference, seed) in self.logits]
            return self.gauc_difference(name, reference, common)
        arms, metric = self._ranked(task)
        return arms.difference(name, reference, metric)

    def smallest_gain(self, name: str, reference: str) -> Estimate:
        """Return the difference in the task with the smallest lower confidence bound.

        If its interval is above zero, so are those of the other tasks.
        """
        gains = [self.difference(task, name, reference) for task in TASKS]
        return min(gains, key=lambda gain: gain.mean if gain.low is None else gain.low)

    def percent(self, name: str, reference: str, base: str) -> Estimate:
        """Return an arm's retrieval gain over a reference, in percent of a base's metric."""
        arms = self.retrieved
        seeds = sorted(set(arms.common_seeds(name, reference)) & set(arms.seeds(base)))
        own, other, whole = (
            {seed: arms.rows(arm, METRIC, seed) for seed in seeds}
            for arm in (name, reference, base)
        )
        gained = {seed: own[seed] - other[seed] for seed in seeds}
        return estimate_ratio(gained, whole, "users", clusters=arms.users).divided(0.01)

    def judged(self, task: Task) -> dict[str, list[int]]:
        """Return the seeds of every arm that was evaluated in a task."""
        found = self.logits if task == "ranking" else self._ranked(task)[0].ranks
        seeds: dict[str, list[int]] = {}
        for name, seed in found:
            seeds.setdefault(name, []).append(seed)
        return seeds

    def _ranked(self, task: Task) -> tuple[RankedArms, str]:
        if task == "retrieval":
            return self.retrieved, METRIC
        return self.related, RELATED_METRIC
