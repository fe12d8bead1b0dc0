"""Judge on a period first, train on it afterwards; never the other way round.

The protocol is Monolith's "simulated online training" (Liu et al., 2022): for each shard of the
stream, copy the parameters to serving, evaluate the copy on the shard, then train on the shard.
"""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from okml.seqrec.interactions import Ints
from okml.seqrec.ranking import Ranks, rank_rows
from okml.seqrec.rows import Rows
from okml.seqrec.scorers import product_scorer
from okml.video_workshop.stream.recommenders import Recommender
from okml.video_workshop.stream.trainer import Effort, StreamTrainer
from okml.video_workshop.stream.windows import Stream
from okml.video_workshop.users.batches import AskedBatches
from okml.video_workshop.users.evaluation import only_existing


class Strategy(ABC):
    """What is done to a recommender between periods. An object serves one run."""

    def welcome(self, trainer: StreamTrainer, recommender: Recommender, period: int) -> None:  # noqa: B027
        """Prepare, before ``period`` is served, for the items that appear in it.

        Their content is known when they are put up; nobody has met them yet.
        """

    @abstractmethod
    def update(
        self, trainer: StreamTrainer, recommender: Recommender, period: int
    ) -> tuple[Recommender, Effort]:
        """Learn from ``period``, which is over, and return what serves the next one."""

    def rows_alive(self, recommender: Recommender) -> int:
        """Return how many item rows are in use."""
        return len(recommender.item_matrix()) - 1


@dataclass(frozen=True, eq=False)
class Passage:
    """What one recommender did on a stream.

    Attributes:
        ranks: Of each judged row, in the order of the rows, ``[r]``.
        among: Of a target that belongs to the group, among the group alone, ``[r]``; else NaN.
        efforts: Of the update after each period, the first one first.
        rows_alive: Item rows in use when each period was served.
    """

    ranks: Ranks
    among: Ranks
    efforts: tuple[Effort, ...]
    rows_alive: tuple[int, ...]

    @property
    def effort(self) -> Effort:
        """Of all updates together."""
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
) -> Passage:
    """Serve, judge and update, a period at a time.

    Args:
        trainer: Of the stream.
        strategy: How to update.
        recommender: Trained on all periods before ``first``; it is changed in place.
        rows: What to judge on, in the order of events.
        first: The first period that is served.
        hide_seen: See :func:`judge`.
        batch_size: Rows that are ranked together.
        group: Items that are also ranked among themselves; None: none are.
    """
    stream, length = trainer.stream, trainer.settings.model.length
    period_of = stream.period[rows.end]
    ranks, among = np.full((2, len(rows)), np.nan)
    grouped = np.isin(stream.interactions.items[rows.end], [] if group is None else group)
    efforts, alive = [], []
    for period in range(first, stream.count):
        strategy.welcome(trainer, recommender, period)
        served = copy.deepcopy(recommender).eval()
        here = period_of == period
        for found, part, candidates in ((ranks, here, None), (among, here & grouped, group)):
            if part.any():
                found[part] = judge(
                    served, stream, rows.take(part), length,
                    hide_seen=hide_seen, batch_size=batch_size, candidates=candidates,
                )  # fmt: skip
        alive.append(strategy.rows_alive(served))
        started = time.process_time()  # all of the update counts, not its training alone
        recommender, effort = strategy.update(trainer, recommender, period)
        efforts.append(replace(effort, seconds=time.process_time() - started))
    return Passage(ranks, among, tuple(efforts), tuple(alive))


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
    """Rank the targets of rows among the items that had appeared when they were asked for.

    So what competes depends on no period, and is the same at every interval of updates. It is as
    exact as the log's clock: of a log whose times are days, all that appears on a day. Histories
    may hold earlier events of the same period. Half of the equal scores stand before the target.

    Args:
        recommender: What serves.
        stream: The events.
        rows: The requests and what followed them.
        length: Most events of a history.
        hide_seen: Leave out of the ranking what a user has had, the target never.
        batch_size: Rows that are ranked together.
        item_matrix: Vectors of items in place of the recommender's own, ``[items + 1, d]``.
        candidates: The only items that compete, all targets among them; None: all compete.
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
