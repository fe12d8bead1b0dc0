"""Evaluates recommenders on the same test rows, paired by user."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from sklearn.metrics import roc_auc_score

from okml.ledger import Estimate, estimate_difference, estimate_ratio
from okml.seqrec.comparison import RankedArms
from okml.seqrec.metrics import Floats
from okml.seqrec.rows import Mask
from okml.video_workshop.users.downstream import Ranking, Retrieval
from okml.video_workshop.users.evaluation import (
    ItemScores,
    Pairs,
    liked_pairs,
    ranking_logits,
    related_ranks,
    retrieval_ranks,
    user_auc,
)
from okml.video_workshop.users.trainer import UserTrainer

METRIC = "ndcg@10"  # of retrieval
RELATED_METRIC = "hr@10"
Task = Literal["retrieval", "ranking", "related"]
TASKS: tuple[Task, ...] = ("retrieval", "ranking", "related")


@dataclass
class Judge:
    """Evaluates recommenders on the same test rows, and keeps their ranks and logits.

    Attributes:
        trainer: Trainer of the recommenders.
        batch: Number of requests or item pairs that are ranked together.
    """

    trainer: UserTrainer
    batch: int

    def __post_init__(self) -> None:
        self.retrieved = RankedArms(self.trainer.liked_test.user)
        self.related = RankedArms(self.pairs.users)
        self.logits: dict[tuple[str, int], Floats] = {}
        self._gauc_rows: dict[tuple[str, int], Floats] = {}

    @cached_property
    def pairs(self) -> Pairs:
        """Test pairs of related items."""
        return liked_pairs(self.trainer.watched, self.trainer.test)

    @cached_property
    def labels(self) -> Mask:
        """Labels of each test target, ``[r, tasks]``."""
        return self.trainer.labels[self.trainer.watched.actions[self.trainer.test.end]]

    def retrieval(self, name: str, seed: int, recommender: Retrieval) -> None:
        """Rank the liked items of the test."""
        trainer = self.trainer
        source = trainer.requests(trainer.liked_test)
        ranks = retrieval_ranks(recommender, source, trainer.watched.first_seen, self.batch)
        self.retrieved.add(name, seed, ranks)

    def ranking(self, name: str, seed: int, recommender: Ranking) -> None:
        """Predict the labels of each test item."""
        source = self.trainer.requests(self.trainer.test)
        self.logits[name, seed] = ranking_logits(recommender, source, self.batch)

    def relation(self, name: str, seed: int, scores: ItemScores) -> None:
        """Rank the second items of the test pairs by scores of all items."""
        first_seen = self.trainer.watched.first_seen
        ranks = related_ranks(scores, self.pairs, first_seen, self.batch)
        self.related.add(name, seed, ranks)

    def gauc_rows(self, name: str, seed: int) -> Floats:
        """Return the AUC of each row's user, a mean over tasks, ``[r]``; NaN where undefined."""
        if (name, seed) in self._gauc_rows:
            return self._gauc_rows[name, seed]
        logits = self.logits[name, seed]
        of_tasks = [
            user_auc(logits[:, task], self.labels[:, task], self.trainer.test.user)
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
        return estimate_difference(own, other, "users", clusters=self.trainer.test.user[kept])

    def auc(self, name: str, seed: int) -> dict[str, float]:
        """Return the AUC over all rows by task."""
        logits, names = self.logits[name, seed], self.trainer.settings.ranked
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
