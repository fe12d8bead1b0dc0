"""Prequential evaluation: a period is evaluated before it is trained on.

The protocol is Monolith's "simulated online training" (Liu et al., 2022): for each shard of the
stream, copy the parameters to serving, evaluate the copy on the shard, then train on the shard.
"""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch

from okml.accelerator import seconds_of
from okml.seqrec.interactions import Ints
from okml.seqrec.ranking import Ranks, rank_rows
from okml.seqrec.rows import Rows
from okml.seqrec.scorers import product_scorer
from okml.video_workshop.common.study import Array
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.stream.periods import Stream
from okml.video_workshop.stream.trainer import Effort, StreamTrainer
from okml.video_workshop.users.batches import AskedBatches
from okml.video_workshop.users.scoring import only_existing


class Strategy(ABC):
    """An update of a user model between periods. An object serves one run."""

    @abstractmethod
    def update(
        self, trainer: StreamTrainer, model: UserModel, period: int
    ) -> tuple[UserModel, Effort]:
        """Learn from the finished ``period``, and return the model of the next one."""


@dataclass(frozen=True, eq=False)
class Passage:
    """The prequential run of one user model on a stream.

    Attributes:
        ranks: Rank of each row's target, in the order of the rows, ``[r]``.
        efforts: Cost of the update after each period, in order.
    """

    ranks: Ranks
    efforts: tuple[Effort, ...]

    def arrays(self) -> dict[str, Array]:
        """Return the passage as arrays, which a file can hold."""
        efforts = np.array([(part.steps, part.samples, part.seconds) for part in self.efforts])
        return {"ranks": self.ranks, "efforts": efforts}

    @classmethod
    def of_arrays(cls, kept: Mapping[str, Any]) -> Self:
        """Return the passage of some arrays."""
        efforts = tuple(
            Effort(int(steps), int(samples), seconds)
            for steps, samples, seconds in kept["efforts"].tolist()
        )
        return cls(kept["ranks"], efforts)

    @property
    def effort(self) -> Effort:
        """Cost of all updates together."""
        return sum(self.efforts, Effort())


def run_prequential(
    trainer: StreamTrainer,
    strategy: Strategy,
    model: UserModel,
    rows: Rows,
    first: int,
    *,
    hide_seen: bool = True,
    batch_size: int = 512,
) -> Passage:
    """Serve, evaluate and update, period by period.

    Args:
        trainer: Trainer on the stream.
        strategy: Strategy of the updates.
        model: Model trained on all periods before ``first``; it is changed in place.
        rows: Rows to evaluate, in the order of events.
        first: Number of the first served period.
        hide_seen: Whether seen items are left out of the ranking; see :func:`judge`.
        batch_size: Number of rows that are ranked together.
    """
    stream, length = trainer.stream, trainer.settings.model.length
    period_of = stream.period[rows.end]
    ranks, efforts = np.full(len(rows), np.nan), []
    for period in range(first, stream.count):
        served, here = copy.deepcopy(model).eval(), period_of == period
        if here.any():
            asked = rows.take(here)
            ranks[here] = judge(
                served, stream, asked, length, hide_seen=hide_seen, batch_size=batch_size
            )
        effort = Effort()

        def learn(period: int = period) -> None:
            nonlocal model, effort
            model.table.observe(*stream.events_of(period))
            model, effort = strategy.update(trainer, model, period)

        seconds = seconds_of(learn, trainer.device, time.process_time)
        efforts.append(replace(effort, seconds=seconds))
    return Passage(ranks, tuple(efforts))


def judge(
    model: UserModel,
    stream: Stream,
    rows: Rows,
    length: int,
    *,
    hide_seen: bool = True,
    batch_size: int = 512,
) -> Ranks:
    """Rank the targets of rows among the items that had appeared by the time of the request.

    The candidates therefore do not depend on periods, and are the same for every interval of
    updates. They are as exact as the log's clock; if times are days, all items of a day count.
    Histories may hold earlier events of the same period. Half of the ties precede the target.

    Args:
        model: Model to evaluate.
        stream: Stream of the rows' events.
        rows: Test requests with their targets.
        length: Largest number of events of a history.
        hide_seen: Whether seen items except the target are left out of the ranking.
        batch_size: Number of rows that are ranked together.
    """
    matrix = model.item_matrix()
    source = AskedBatches(
        stream.interactions, rows, length, padding_side=model.padding_side, device=matrix.device
    )
    scorer = only_existing(
        product_scorer(lambda batch: model.last(batch.items, batch.times, batch.padded), matrix),
        torch.from_numpy(stream.first_seen),
    )
    return rank_rows(scorer, source, hide_seen=hide_seen, ties="middle", batch_size=batch_size)


def per_period(values: Ranks, rows: Rows, stream: Stream) -> tuple[Ints, Ranks]:
    """Return the periods that have rows, and the mean of ``values`` ``[r]`` in each."""
    period = stream.period[rows.end]
    numbers, code = np.unique(period, return_inverse=True)
    return numbers, np.bincount(code, weights=values) / np.bincount(code)
