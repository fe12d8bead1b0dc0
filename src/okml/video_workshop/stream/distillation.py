"""Updates that keep old knowledge: ADER's distillation on exemplars."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import cached_property, partial, reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from okml.seqrec.batches import LastTargetBatch, LastTargetBatches
from okml.seqrec.interactions import Ints
from okml.seqrec.losses import AnyLoss, ChunkedSoftmaxSettings
from okml.seqrec.rows import Rows
from okml.video_workshop.common.training import batches_of
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.stream.strategies import Incremental
from okml.video_workshop.stream.trainer import Effort, Penalty, StreamTrainer

Vectors = NDArray[np.float32]
CHUNK_BYTES = 2**28  # memory of a part's logits where the loss states none; for a GPU


def herd(vectors: Vectors, amount: int) -> Ints:
    """Choose rows greedily so that the mean of the chosen ones is closest to the mean of all.

    Welling's herding as in iCaRL and ADER (Mi et al., 2020): at step ``k`` the row ``x`` that
    minimizes ``|| mu - (sum of the chosen + x) / k ||`` is taken, and no row twice.

    Args:
        vectors: L2-normalized representations, ``[r, d]``.
        amount: Number of rows to choose, at most ``r``.

    Returns:
        Row numbers in the order of choice, ``[amount]``.
    """
    mean = vectors.mean(0)
    total = np.zeros_like(mean)
    left = np.ones(len(vectors), bool)
    chosen = np.empty(min(amount, len(vectors)), np.int64)
    for k in range(1, len(chosen) + 1):
        distance = ((mean - (total + vectors) / k) ** 2).sum(1)  # [r]
        best = int(np.where(left, distance, np.inf).argmin())
        chosen[k - 1], left[best] = best, False
        total += vectors[best]
    return chosen


def quotas(counts: Ints, amount: int, rng: np.random.Generator) -> Ints:
    """Draw the number of exemplars of each item, in proportion to its number of examples.

    Args:
        counts: Number of examples of each item, ``[k]``.
        amount: Number of exemplars of all items together.
        rng: Random generator of the multinomial draw.

    Returns:
        Numbers ``[k]``, none larger than the number of examples.
    """
    drawn: Ints = rng.multinomial(amount, counts / counts.sum())
    return np.minimum(drawn, counts)


def choose_exemplars(vectors: Vectors, labels: Ints, amount: int, rng: np.random.Generator) -> Ints:
    """Choose examples by herding within each label; see :func:`herd` and :func:`quotas`.

    Args:
        vectors: L2-normalized representations, ``[r, d]``.
        labels: Target item of each example, ``[r]``.
        amount: Number of exemplars of all labels together.
        rng: Random generator of the quotas.

    Returns:
        Row numbers, ascending.
    """
    if not len(labels):
        return np.empty(0, np.int64)
    order = np.argsort(labels, kind="stable")
    _, counts = np.unique(labels[order], return_counts=True)
    quota = quotas(counts, amount, rng)
    groups = np.split(order, np.cumsum(counts)[:-1])
    kept = [group[herd(vectors[group], q)] for group, q in zip(groups, quota, strict=True) if q]
    return np.sort(np.concatenate(kept)) if kept else np.empty(0, np.int64)


class ExemplarDistillation(Incremental):
    """Fine-tuning with distillation on exemplars (Mi et al., 2020).

    The loss is ``CE(new) + lambda_t CE(softmax(old logits), new logits)``, the second on exemplars
    and over the items that existed before the period, at temperature 1.

    Args:
        base: ``lambda_base``; see :func:`distillation_weight`.
        exemplars: Number of kept exemplars; None: all past examples are.
        first: First served period, before which the first exemplars are chosen.
    """

    def __init__(self, base: float, exemplars: int | None, first: int) -> None:
        self.base = base
        self.amount = exemplars
        self.first = first
        self.exemplars: Rows | None = None

    def update(
        self, trainer: StreamTrainer, model: UserModel, period: int
    ) -> tuple[UserModel, Effort]:
        """Train on the period, then choose the exemplars of the next update."""
        if self.exemplars is None:
            past = reduce(Rows.join, map(trainer.stream.targets, range(self.first)))
            self.exemplars = self._choose(trainer, model, past, self.first - 1)
        updated, effort = super().update(trainer, model, period)
        pool = self.exemplars.join(trainer.stream.targets(period))
        self.exemplars = self._choose(trainer, updated, pool, period)
        return updated, effort

    def penalty(self, trainer: StreamTrainer, model: UserModel, period: int) -> Penalty | None:
        """Return the distillation term, whose teacher is a copy of the current model."""
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
        return _OnExemplars(
            copy.deepcopy(model).eval(),
            _source(trainer, model, self.exemplars),
            torch.from_numpy(old_items).to(trainer.device),
            weight,
            math.ceil(len(self.exemplars) / steps),  # an epoch contains each exemplar about once
            np.random.default_rng([trainer.seed, period]),
            chunk_bytes(settings.loss),
        )

    def _choose(self, trainer: StreamTrainer, model: UserModel, pool: Rows, period: int) -> Rows:
        if self.amount is None:
            return pool
        rng = np.random.default_rng([trainer.seed, period, 1])
        if len(pool) > 4 * self.amount:  # bounds the cost of herding
            pool = pool.take(np.sort(rng.choice(len(pool), 4 * self.amount, replace=False)))
        vectors = _represent(trainer, model, pool)
        labels = trainer.stream.interactions.items[pool.end].astype(np.int64)
        return pool.take(choose_exemplars(vectors, labels, self.amount, rng))


def distillation_weight(base: float, old_items: int, items: int, exemplars: int, new: int) -> float:
    """Return ``base * sqrt((old items / items) * (exemplars / new examples))``: ADER's lambda."""
    return base * math.sqrt((old_items / items) * (exemplars / new))


def chunk_bytes(loss: AnyLoss) -> int:
    """Return the memory of logits that the distillation term holds at a time, in bytes.

    It is that of the loss beside it, if that is computed in chunks too.
    """
    return loss.chunk_bytes if isinstance(loss, ChunkedSoftmaxSettings) else CHUNK_BYTES


def distill(new: Tensor, old: Tensor) -> Tensor:
    """Return the mean cross-entropy of ``softmax(new)`` to ``softmax(old)``, logits ``[b, k]``."""
    return functional.cross_entropy(new, old.softmax(1))


@dataclass(eq=False)
class _OnExemplars:
    """Cross-entropy to a teacher on exemplars, over the items that existed before the period.

    It is computed a few exemplars at a time. If there are several parts, the backward pass computes
    each again: the activations and logits of one are held, not those of all.
    """

    teacher: UserModel
    source: LastTargetBatches
    items: Tensor
    weight: float
    batch: int
    rng: np.random.Generator
    chunk_bytes: int

    @property
    def samples(self) -> int:
        return self.batch

    def __call__(self, model: UserModel) -> Tensor:
        rows = self.rng.choice(len(self.source), min(self.batch, len(self.source)), replace=False)
        height = max(self.chunk_bytes // (4 * len(self.items)), 1)
        term = self._term
        if len(rows) > height:
            term = partial(checkpoint, self._term, use_reentrant=False)
        matrix = model.item_matrix()[self.items]  # [k, d], a copy, which all parts share
        total = matrix.new_zeros(())
        for start in range(0, len(rows), height):
            part = rows[start : start + height]
            mean = term(model, matrix, self.source.batch(part, self.rng))
            total = total + len(part) / len(rows) * mean
        return self.weight * total

    def _term(self, model: UserModel, matrix: Tensor, batch: LastTargetBatch) -> Tensor:
        """Return the mean over a batch, by the student's vectors ``[k, d]`` of the old items."""
        with torch.no_grad():
            old = _scores(self.teacher, self._known, batch)
        return distill(_scores(model, matrix, batch), old)

    @cached_property
    def _known(self) -> Tensor:
        """The teacher's vectors of the old items, ``[k, d]``, the same in each step."""
        with torch.no_grad():
            return self.teacher.item_matrix()[self.items]


def _scores(model: UserModel, matrix: Tensor, batch: LastTargetBatch) -> Tensor:
    """Return the scores ``[b, k]`` of the items whose vectors ``[k, d]`` are given."""
    return (model.last(batch.items, batch.times, batch.padded) @ matrix.T).float()


@torch.no_grad()
def _represent(trainer: StreamTrainer, model: UserModel, rows: Rows) -> Vectors:
    """Return the L2-normalized vectors after the histories of rows, ``[r, d]``."""
    model.eval()
    found = [
        functional.normalize(model.last(batch.items, batch.times, batch.padded).float())
        for batch in batches_of(_source(trainer, model, rows))
    ]
    vectors: Vectors = torch.cat(found).cpu().numpy()
    return vectors


def _source(trainer: StreamTrainer, model: UserModel, rows: Rows) -> LastTargetBatches:
    return LastTargetBatches(
        trainer.stream.interactions, rows, trainer.settings.model.length,
        padding_side=model.padding_side, device=trainer.device,
    )  # fmt: skip
