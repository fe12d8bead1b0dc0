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
from torch import Tensor

from okml.accelerator import seconds_of
from okml.errors import ParameterError
from okml.seqrec.interactions import Ints
from okml.seqrec.ranking import Ranks, rank_rows
from okml.seqrec.rows import Rows
from okml.seqrec.scorers import product_scorer
from okml.video_workshop.common.study import Array
from okml.video_workshop.common.table import IdTable
from okml.video_workshop.stream.new_rows import RowInitializer
from okml.video_workshop.stream.periods import Stream
from okml.video_workshop.stream.recommenders import Recommender
from okml.video_workshop.stream.trainer import Effort, StreamTrainer
from okml.video_workshop.users.batches import AskedBatches
from okml.video_workshop.users.evaluation import only_existing


class Strategy(ABC):
    """An update of a recommender between periods. An object serves one run."""

    @abstractmethod
    def update(
        self, trainer: StreamTrainer, recommender: Recommender, period: int
    ) -> tuple[Recommender, Effort]:
        """Learn from the finished ``period``, and return the recommender of the next one."""


@dataclass(frozen=True, eq=False)
class Passage:
    """The prequential run of one recommender on a stream.

    Attributes:
        ranks: Rank of each row's target, in the order of the rows, ``[r]``.
        among: Rank of each target in the group among the group, ``[r]``; NaN for other targets.
        efforts: Cost of the update after each period, in order.
        rows_alive: Item rows in use when each period was served.
    """

    ranks: Ranks
    among: Ranks
    efforts: tuple[Effort, ...]
    rows_alive: tuple[int, ...]

    def arrays(self) -> dict[str, Array]:
        """Return the passage as arrays, which a file can hold."""
        efforts = np.array([(part.steps, part.samples, part.seconds) for part in self.efforts])
        alive = np.array(self.rows_alive)
        return {"ranks": self.ranks, "among": self.among, "efforts": efforts, "alive": alive}

    @classmethod
    def of_arrays(cls, kept: Mapping[str, Any]) -> Self:
        """Return the passage of some arrays."""
        efforts = tuple(
            Effort(int(steps), int(samples), seconds)
            for steps, samples, seconds in kept["efforts"].tolist()
        )
        return cls(kept["ranks"], kept["among"], efforts, tuple(kept["alive"].tolist()))

    @property
    def effort(self) -> Effort:
        """Cost of all updates together."""
        return sum(self.efforts, Effort())


def run_prequential(
    trainer: StreamTrainer,
    strategy: Strategy,
    recommender: Recommender,
    rows: Rows,
    first: int,
    *,
    hide_seen: bool = True,
    batch_size: int = 512,
    group: Ints | None = None,
    new_rows: RowInitializer | None = None,
) -> Passage:
    """Serve, evaluate and update, period by period.

    Args:
        trainer: Trainer on the stream.
        strategy: Strategy of the updates.
        recommender: Recommender trained on all periods before ``first``; it is changed in place.
        rows: Rows to evaluate, in the order of events.
        first: Number of the first served period.
        hide_seen: Whether seen items are left out of the ranking; see :func:`judge`.
        batch_size: Number of rows that are ranked together.
        group: Items that are also ranked among themselves; None: no group.
        new_rows: First values of the rows of appearing items; None: those of the table.
    """
    stream, length = trainer.stream, trainer.settings.model.length
    period_of = stream.period[rows.end]
    ranks, among = np.full((2, len(rows)), np.nan)
    grouped = np.isin(stream.interactions.items[rows.end], [] if group is None else group)
    efforts, alive = [], []
    for period in range(first, stream.count):
        _prepare(recommender, stream, period, new_rows)
        served = copy.deepcopy(recommender).eval()
        here = period_of == period
        for found, part, candidates in ((ranks, here, None), (among, here & grouped, group)):
            if part.any():
                found[part] = judge(
                    served, stream, rows.take(part), length,
                    hide_seen=hide_seen, batch_size=batch_size, candidates=candidates,
                )  # fmt: skip
        alive.append(served.table.rows_in_use if served.table else len(served.item_matrix()) - 1)
        effort = Effort()

        def learn(period: int = period) -> None:
            nonlocal recommender, effort
            if recommender.table is not None:
                recommender.table.observe(*stream.events_of(period))
            recommender, effort = strategy.update(trainer, recommender, period)

        seconds = seconds_of(learn, trainer.device, time.process_time)
        efforts.append(replace(effort, seconds=seconds))
    return Passage(ranks, among, tuple(efforts), tuple(alive))


@torch.no_grad()
def _prepare(
    recommender: Recommender, stream: Stream, period: int, new_rows: RowInitializer | None
) -> None:
    """Evict the items whose time to live has passed, and write the rows of appearing ones."""
    table = recommender.table
    if table is not None:
        table.evict(int(stream.interactions.times[stream.period < period].max()))
    if new_rows is None:
        return
    if not isinstance(table, IdTable):
        raise ParameterError("Only a user model with a row for each item can be given new rows.")
    weight = table.rows.weight
    known = torch.from_numpy(stream.existing(period - 1)).to(weight.device)
    new = torch.from_numpy(stream.appearing(period)).to(weight.device)
    weight[new] = new_rows(weight[known], known, new)


def judge(
    recommender: Recommender,
    stream: Stream,
    rows: Rows,
    length: int,
    *,
    hide_seen: bool = True,
    batch_size: int = 512,
    item_matrix: Tensor | None = None,
    candidates: Ints | None = None,
) -> Ranks:
    """Rank the targets of rows among the items that had appeared by the time of the request.

    The candidates therefore do not depend on periods, and are the same for every interval of
    updates. They are as exact as the log's clock; if times are days, all items of a day count.
    Histories may hold earlier events of the same period. Half of the ties precede the target.

    Args:
        recommender: Recommender to evaluate.
        stream: Stream of the rows' events.
        rows: Test requests with their targets.
        length: Largest number of events of a history.
        hide_seen: Whether seen items except the target are left out of the ranking.
        batch_size: Number of rows that are ranked together.
        item_matrix: Item vectors that replace the recommender's own, ``[items + 1, d]``.
        candidates: Candidate items, which include all targets; None: all items.
    """
    matrix = recommender.item_matrix() if item_matrix is None else item_matrix
    source = AskedBatches(
        stream.interactions, rows, length,
        padding_side=recommender.padding_side, device=matrix.device,
    )  # fmt: skip
    bias = None if candidates is None else _only(candidates, matrix)
    scorer = only_existing(
        product_scorer(recommender.query, matrix, bias), torch.from_numpy(stream.first_seen)
    )
    return rank_rows(scorer, source, hide_seen=hide_seen, ties="middle", batch_size=batch_size)


def _only(items: Ints, matrix: Tensor) -> Tensor:
    """Return 0 for some items and minus infinity for all others, ``[items + 1]``."""
    bias = torch.full((len(matrix),), -torch.inf)
    bias[torch.from_numpy(items)] = 0
    return bias.to(matrix.device)


def per_period(values: Ranks, rows: Rows, stream: Stream) -> tuple[Ints, Ranks]:
    """Return the periods that have rows, and the mean of ``values`` ``[r]`` in each."""
    period = stream.period[rows.end]
    numbers, code = np.unique(period, return_inverse=True)
    return numbers, np.bincount(code, weights=values) / np.bincount(code)
