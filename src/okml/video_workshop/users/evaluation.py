"""Evaluation of recommenders on the same test rows, paired by user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.ledger import Estimate, estimate_difference, estimate_ratio
from okml.seqrec.convergence import MONITOR, still_rising
from okml.seqrec.interactions import Ints
from okml.seqrec.metrics import Floats, hit, ndcg
from okml.seqrec.ranking import Ranks
from okml.seqrec.rows import Rows
from okml.training import History
from okml.video_workshop.common.data import Watched
from okml.video_workshop.common.training import batches_of
from okml.video_workshop.users.arms import RecommenderTask
from okml.video_workshop.users.downstream import DownstreamModel, RankingModel, Retrieval
from okml.video_workshop.users.pretraining import Pretraining
from okml.video_workshop.users.scoring import auc_rows, ranking_logits, retrieval_ranks
from okml.video_workshop.users.study import MONITORS, UsersStudy

# Maps items ``[m]`` to the scores of all items as related ones, a new tensor ``[m, V + 1]``.
ItemScores = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class ItemPairs:
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


def known_targets(study: UsersStudy) -> Rows:
    """Return the test rows whose target existed before the cut; other targets are no class."""
    items = study.watched.interactions.items[study.test.end]
    return study.test.take(study.watched.first_seen[items] < study.cut)


@torch.inference_mode()
def row_losses(objective: Pretraining, study: UsersStudy, rows: Rows) -> Floats:
    """Return the cross-entropy of each target among items that existed at the cut, ``[r]``."""
    matrix = objective.model.item_matrix().float()
    exists = torch.from_numpy(study.watched.first_seen < study.cut).to(matrix.device)
    found = []
    for batch in batches_of(study.requests(rows), study.profile.evaluation_batch):
        hidden = objective.model.last(batch.items, context=batch.context).float()  # [b, d]
        logits = (hidden @ matrix.T).masked_fill_(~exists, -torch.inf)
        target = logits.gather(1, batch.target[:, None])[:, 0]
        found.append((logits.logsumexp(1) - target).cpu())
    return torch.cat(found).numpy().astype(np.float64)


Task = Literal["retrieval", "ranking", "related"]
TASKS: tuple[Task, ...] = ("retrieval", "ranking", "related")  # judged by NDCG@10, GAUC and HR@10


class PairedEvaluation:
    """Evaluates recommenders on the same test rows, and keeps the metric of each row.

    Args:
        study: Study with the test rows.
    """

    def __init__(self, study: UsersStudy) -> None:
        self.study = study
        self.pairs = liked_pairs(study.watched, study.test)
        self.labels = study.labels[study.watched.actions[study.test.end]]  # [r, tasks]
        self.users: dict[Task, NDArray[np.integer]] = {
            "retrieval": study.liked_test.user,
            "ranking": study.test.user,
            "related": self.pairs.users,
        }
        # Values of the task's test rows by arm and seed, [r]; NaN where an AUC is undefined.
        self.rows: dict[Task, dict[tuple[str, int], Floats]] = {task: {} for task in TASKS}
        self.histories: dict[RecommenderTask, dict[tuple[str, int], History]] = {
            "retrieval": {}, "ranking": {}
        }  # fmt: skip

    def add(self, name: str, seed: int, recommender: DownstreamModel) -> None:
        """Evaluate a recommender; for retrieval, also related items by its item vectors."""
        study, first_seen = self.study, self.study.watched.first_seen
        batch = study.profile.evaluation_batch
        if isinstance(recommender, RankingModel):
            logits = ranking_logits(recommender, study.requests(study.test), batch)
            self.rows["ranking"][name, seed] = auc_rows(logits, self.labels, self.users["ranking"])
        elif isinstance(recommender, Retrieval):
            ranks = retrieval_ranks(
                recommender, study.requests(study.liked_test), first_seen, batch
            )
            self.rows["retrieval"][name, seed] = ndcg(ranks, 10)
            with torch.no_grad():
                scores = by_cosine(recommender.model.item_matrix())
            ranks = related_ranks(scores, self.pairs, first_seen, batch)
            self.rows["related"][name, seed] = hit(ranks, 10)

    def seeds(self, task: Task, *names: str) -> list[int]:
        """Return the seeds with which all of some arms were evaluated."""
        found = [{seed for arm, seed in self.rows[task] if arm == name} for name in names]
        return sorted(set.intersection(*found))

    def arms(self, task: Task) -> list[str]:
        """Return the arms that were evaluated in a task, in their order."""
        return list(dict.fromkeys(arm for arm, _ in self.rows[task]))

    def value(self, task: Task, name: str, seed: int) -> float:
        """Return the metric of a task."""
        return float(np.nanmean(self.rows[task][name, seed]))

    def validated(self, task: RecommenderTask, name: str) -> float:
        """Return the best metric of an arm in validation, mean over seeds."""
        return float(np.mean([history.best_value for (arm, _), history
                              in self.histories[task].items() if arm == name]))  # fmt: skip

    def rising(self, task: RecommenderTask, name: str) -> bool:
        """Tell whether an arm's trainings ended before validation was flat."""
        read = {MONITORS[task]: MONITOR}  # the name by which a curve is read
        return still_rising(
            [replace(history, frame=history.frame.rename(read))
             for (arm, _), history in self.histories[task].items() if arm == name]
        )  # fmt: skip

    def difference(self, task: Task, name: str, reference: str) -> Estimate:
        """Return the difference of two arms in the task's metric, over their common seeds."""
        own, other = self._of(task, name, reference)
        kept = ~np.isnan(next(iter(own.values())))  # labels decide, not the arm
        own, other = ({seed: row[kept] for seed, row in of.items()} for of in (own, other))
        return estimate_difference(own, other, "users", clusters=self.users[task][kept])

    def smallest_gain(self, name: str, reference: str) -> Estimate:
        """Return the smallest of the tasks' differences.

        Its interval goes from the smallest lower end to the smallest upper end, so it lies above
        zero where those of all tasks do, and below zero where that of any task does.
        """
        gains = [self.difference(task, name, reference) for task in TASKS]
        ends = zip(*(cast(tuple[float, float], gain.interval) for gain in gains), strict=True)
        low, high = map(min, ends)
        smallest = min(gains, key=lambda gain: gain.mean)
        estimator = f"smallest of {len(gains)} tasks, {smallest.estimator}"
        return smallest.model_copy(update={"low": low, "high": high, "estimator": estimator})

    def percent(self, name: str, reference: str, base: str) -> Estimate:
        """Return an arm's retrieval gain over a reference, in percent of a base's metric."""
        own, other, whole = self._of("retrieval", name, reference, base)
        gained = {seed: own[seed] - other[seed] for seed in own}
        users = self.users["retrieval"]
        return estimate_ratio(gained, whole, "users", clusters=users).divided(0.01)

    def _of(self, task: Task, *names: str) -> list[dict[int, Floats]]:
        """Return the rows of some arms by seed, for the seeds that they share."""
        seeds = self.seeds(task, *names)
        return [{seed: self.rows[task][name, seed] for seed in seeds} for name in names]
