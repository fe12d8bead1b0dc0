"""ADER: updates with a distillation loss on exemplars of earlier periods."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from okml.seqrec.batches import LastTargetBatch, LastTargetBatches
from okml.seqrec.rows import Rows
from okml.video_workshop.stream.herding import Vectors, choose_exemplars
from okml.video_workshop.stream.recommenders import Recommender
from okml.video_workshop.stream.strategies.incremental import Incremental
from okml.video_workshop.stream.trainer import Effort, Penalty, StreamTrainer
from okml.video_workshop.stream.windows import Stream


class Distillation(Incremental):
    """Fine-tuning with distillation on exemplars (Mi et al., 2020).

    The loss is ``CE(new) + lambda_t CE(softmax(old logits), new logits)``, the second on exemplars
    and over the items that existed before the period, at temperature 1.

    Args:
        base: ``lambda_base``; see :func:`distillation_weight`.
        exemplars: Number of kept exemplars; None: all old examples.
        first: First served period, before which the first exemplars are chosen.
        labels: Whether to learn the exemplars' targets instead of the old model's outputs, as a
            control.
    """

    def __init__(
        self, base: float, exemplars: int | None, first: int, labels: bool = False
    ) -> None:
        super().__init__()
        self.base = base
        self.amount = exemplars
        self.first = first
        self.labels = labels
        self.exemplars: Rows | None = None

    def update(
        self, trainer: StreamTrainer, recommender: Recommender, period: int
    ) -> tuple[Recommender, Effort]:
        """Train on the period, then choose the exemplars of the next update."""
        if self.exemplars is None:
            past = _rows_before(trainer.stream, self.first)
            self.exemplars = self._choose(trainer, recommender, past, self.first - 1)
        updated, effort = super().update(trainer, recommender, period)
        pool = _join(self.exemplars, trainer.stream.targets(period))
        self.exemplars = self._choose(trainer, updated, pool, period)
        return updated, effort

    def penalty(
        self, trainer: StreamTrainer, recommender: Recommender, period: int
    ) -> Penalty | None:
        """Return the distillation term, whose teacher is a copy of the current recommender."""
        stream, settings = trainer.stream, trainer.settings
        new = len(stream.targets(period))
        assert self.exemplars is not None
        if not new or not len(self.exemplars):
            return None
        old_items = stream.existing(period - 1)
        weight = distillation_weight(
            self.base, len(old_items), len(stream.existing(period)), len(self.exemplars), new
        )
        steps = math.ceil(len(self.slices(trainer, period)) / settings.update_batch)
        # An epoch contains each exemplar about once.
        batch = math.ceil(len(self.exemplars) / steps)
        source = _source(trainer, recommender, self.exemplars)
        rng = np.random.default_rng([trainer.seed, period])
        items = torch.from_numpy(old_items).to(trainer.device)
        teacher = None if self.labels else copy.deepcopy(recommender).eval()
        return _OnExemplars(teacher, source, items, weight, batch, rng)

    def _choose(
        self, trainer: StreamTrainer, recommender: Recommender, pool: Rows, period: int
    ) -> Rows:
        if self.amount is None:
            return pool
        rng = np.random.default_rng([trainer.seed, period, 1])
        if len(pool) > 4 * self.amount:  # bounds the cost of herding
            pool = pool.take(np.sort(rng.choice(len(pool), 4 * self.amount, replace=False)))
        vectors = _represent(trainer, recommender, pool)
        labels = trainer.stream.interactions.items[pool.end].astype(np.int64)
        return pool.take(choose_exemplars(vectors, labels, self.amount, rng))


def distillation_weight(base: float, old_items: int, items: int, exemplars: int, new: int) -> float:
    """Return ``base * sqrt((old items / items) * (exemplars / new examples))``: ADER's lambda."""
    return base * math.sqrt((old_items / items) * (exemplars / new))


def distill(new: Tensor, old: Tensor) -> Tensor:
    """Return the mean cross-entropy of ``softmax(new)`` to ``softmax(old)``, logits ``[b, k]``."""
    return functional.cross_entropy(new, old.softmax(1))


class _OnExemplars(Penalty):
    """Cross-entropy to a teacher on exemplars, over the items that existed before the period.

    Without a teacher, the labels are the exemplars' targets.
    """

    def __init__(
        self,
        teacher: Recommender | None,
        source: LastTargetBatches,
        items: Tensor,
        weight: float,
        batch: int,
        rng: np.random.Generator,
    ) -> None:
        self.teacher = teacher
        self.source = source
        self.items = items
        self.weight = weight
        self.batch = batch
        self.rng = rng

    @property
    def samples(self) -> int:
        return self.batch

    def __call__(self, recommender: Recommender) -> Tensor:
        rows = self.rng.choice(len(self.source), min(self.batch, len(self.source)), replace=False)
        batch = self.source.batch(rows, self.rng)
        scores = self._scores(recommender, batch)
        if self.teacher is None:
            # Targets of exemplars are among the old items, which are sorted.
            places = torch.searchsorted(self.items, batch.target)
            return self.weight * functional.cross_entropy(scores, places)
        with torch.no_grad():
            old = self._scores(self.teacher, batch)
        return self.weight * distill(scores, old)

    def _scores(self, recommender: Recommender, batch: LastTargetBatch) -> Tensor:
        """Return the scores ``[b, k]`` of the old items."""
        return (recommender.query(batch) @ recommender.item_matrix()[self.items].T).float()


@torch.no_grad()
def _represent(
    trainer: StreamTrainer, recommender: Recommender, rows: Rows, batch_size: int = 512
) -> Vectors:
    """Return the L2-normalized vectors after the histories of rows, ``[r, d]``."""
    source, rng = _source(trainer, recommender, rows), np.random.default_rng(0)
    recommender.eval()
    found = []
    for start in range(0, len(rows), batch_size):
        numbers = np.arange(start, min(start + batch_size, len(rows)))
        found.append(functional.normalize(recommender.query(source.batch(numbers, rng)).float()))
    vectors: Vectors = torch.cat(found).cpu().numpy()
    return vectors


def _source(trainer: StreamTrainer, recommender: Recommender, rows: Rows) -> LastTargetBatches:
    return LastTargetBatches(
        trainer.stream.interactions, rows, trainer.settings.model.length,
        padding_side=recommender.padding_side, device=trainer.device,
    )  # fmt: skip


def _rows_before(stream: Stream, period: int) -> Rows:
    parts = [stream.targets(number) for number in range(period)]
    return Rows(
        np.concatenate([part.user for part in parts]), np.concatenate([part.end for part in parts])
    )


def _join(a: Rows, b: Rows) -> Rows:
    return Rows(np.concatenate([a.user, b.user]), np.concatenate([a.end, b.end]))
