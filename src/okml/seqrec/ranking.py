"""The rank of an item in the whole catalog, without a users × items matrix of scores.

``rank = 1 + #{j ≠ y: s_j ≥ s_y}`` over all items ``j`` but the padding: ties count against the
model, so constant scores give the worst rank, not the best. There is no sorting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.errors import ParameterError, TrainingError
from okml.runtime import progress
from okml.seqrec.batches import LastTargetBatches
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.rows import Rows
from okml.seqrec.scorers import ChunkScores, Scorer

Ranks = NDArray[np.float64]  # whole numbers, or with ties "middle" multiples of 0.5

# pessimistic: all ties rank before the target; middle: half of them do.
Ties = Literal["pessimistic", "middle"]

WIDEST = 2**24  # counts up to here are exact in float32


@dataclass(frozen=True, eq=False)
class Relevant:
    """The relevant items of rows, several for each row.

    Attributes:
        row: The row of each relevant item, ascending, ``[m]``.
        item: The relevant items, distinct within a row, ``[m]``.
    """

    row: Ints
    item: Ints


def later_items(interactions: Interactions, rows: Rows, until: Ints | None = None) -> Relevant:
    """Return the distinct items of each row's user from the row's target on.

    Args:
        interactions: The events of all users.
        rows: The rows to predict.
        until: One past the last counted event of each row, ``[r]``; by default all count.
    """
    stop = interactions.offsets[rows.user + 1] if until is None else until
    row, place = expand(rows.end, stop)
    keys = np.unique(row * (interactions.item_count + 1) + interactions.items[place])
    return Relevant(*np.divmod(keys, interactions.item_count + 1))


def rank_rows(
    scorer: Scorer,
    source: LastTargetBatches,
    *,
    hide_seen: bool = False,
    ties: Ties = "pessimistic",
    batch_size: int = 512,
    limit: int = WIDEST,
    device: torch.device | None = None,
) -> Ranks:
    """Return the rank of each row's target, ``[r]``.

    Args:
        scorer: The scorer of the model.
        source: The batch source of the rows.
        hide_seen: Whether to exclude the items of a row's whole history, but not the target.
        ties: The treatment of equal scores.
        batch_size: Number of rows that are encoded together.
        limit: The largest number of scores in memory. If one row has more, items are scored
            twice: for the target's score, and for the comparison with it.
        device: The device of the model, if batches are built on another one.

    Raises:
        TrainingError: If a score is NaN.
    """
    number = np.arange(len(source.rows))
    relevant = Relevant(number, source.targets())
    return rank_relevant(
        scorer, source, relevant,
        hide_seen=hide_seen, ties=ties, batch_size=batch_size, limit=limit, device=device,
    )  # fmt: skip


@torch.inference_mode()
def rank_relevant(
    scorer: Scorer,
    source: LastTargetBatches,
    relevant: Relevant,
    *,
    hide_seen: bool = False,
    ties: Ties = "pessimistic",
    batch_size: int = 512,
    limit: int = WIDEST,
    device: torch.device | None = None,
) -> Ranks:
    """Return the rank of each relevant item among all items, ``[m]``, other relevant ones included.

    Arguments and errors are those of :func:`rank_rows`.
    """
    if batch_size < 1 or limit < 1:
        raise ParameterError("The batch size and the limit of scores must be at least 1.")
    if not len(source):
        raise ParameterError("There are no rows to rank.", "Loosen the filter on histories.")
    comparison = _Comparison(source, hide_seen, ties, limit)
    rng = np.random.default_rng(0)  # for the batches' negatives, which are not used
    ranks: list[Tensor] = []
    for start in progress(range(0, len(source), batch_size), "ranking"):
        rows = np.arange(start, min(start + batch_size, len(source)))
        batch = source.batch(rows, rng)
        batch = batch if device is None else batch.to(device)
        first, last = np.searchsorted(relevant.row, [rows[0], rows[-1] + 1])
        of_batch = relevant.row[first:last], relevant.item[first:last]
        ranks += comparison.ranks(scorer(batch), start, *of_batch, batch.items.device)
    comparison.check()
    return np.concatenate([rank.cpu().numpy() for rank in ranks])


class _Comparison:
    """Ranks (row, item) pairs, as many at a time as the limit allows."""

    def __init__(self, source: LastTargetBatches, hide_seen: bool, ties: Ties, limit: int) -> None:
        self.interactions, self.rows = source.interactions, source.rows
        self.hide_seen = hide_seen
        self.ties = ties
        items = self.interactions.item_count
        self.height = max(1, limit // items)  # pairs
        width = min(items, limit, WIDEST)
        self.spans = [(a, min(a + width, items + 1)) for a in range(1, items + 1, width)]
        self.largest: list[Tensor] = []  # largest score of each chunk; NaN if any score is NaN

    def ranks(
        self, scores: ChunkScores, start: int, row: Ints, item: Ints, device: torch.device
    ) -> Iterator[Tensor]:
        """Yield the ranks of pairs whose rows belong to the batch that starts at row ``start``."""
        for first in range(0, len(row), self.height):
            chunk = slice(first, first + self.height)
            rows = torch.from_numpy(row[chunk] - start).to(device)
            target = torch.from_numpy(item[chunk]).to(device)
            outside = self._outside(row[chunk], item[chunk], device)
            yield 1 + self._count(scores, rows, target, outside)

    def check(self) -> None:
        """Raise if a score was NaN; called once, since it synchronizes with the GPU."""
        if self.largest and torch.stack(self.largest).isnan().any():
            raise TrainingError(
                "The model gave scores that are not numbers, so nothing can be ranked.",
                "Lower the learning rate or clip gradients, and start again.",
            )

    def _outside(self, row: Ints, item: Ints, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the excluded items as (pair, item): targets, and seen items if hidden."""
        pair, items = np.arange(len(row)), item
        if self.hide_seen:
            user = self.rows.user[row]
            of_pair, place = expand(self.interactions.offsets[user], self.rows.end[row])
            pair = np.concatenate([pair, of_pair])
            items = np.concatenate([items, self.interactions.items[place].astype(np.int64)])
        return torch.from_numpy(pair).to(device), torch.from_numpy(items).to(device)

    def _count(
        self, scores: ChunkScores, rows: Tensor, target: Tensor, outside: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return the number of items that rank before each target, float64 ``[m]``."""
        before = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
        bar = None if len(self.spans) == 1 else self._target_scores(scores, rows, target)
        for first, last in self.spans:
            chunk = scores(rows, first, last)  # [m, w]
            self.largest.append(chunk.amax())
            if bar is None:
                bar = chunk.gather(1, (target - first)[:, None])  # [m, 1]
            pair, item = outside
            if len(self.spans) > 1:
                here = (item >= first) & (item < last)
                pair, item = pair[here], item[here]
            above = (chunk > bar).float() if self.ties == "middle" else None
            # In place, without a second matrix: 1 where an item is not below the target.
            for compared in (chunk.ge_(bar), above):
                if compared is not None:
                    compared[pair, item - first] = 0
                    before += compared.sum(1)
        return before if self.ties == "pessimistic" else before / 2

    def _target_scores(self, scores: ChunkScores, rows: Tensor, target: Tensor) -> Tensor:
        """Return the scores of targets, ``[m, 1]``, from the chunks of the comparison.

        A separate product with the target's vector may round differently and break ties.
        """
        found = torch.empty(len(rows), 1, device=rows.device)
        for first, last in self.spans:
            here = ((target >= first) & (target < last)).nonzero()[:, 0]
            if len(here):
                chunk = scores(rows, first, last)
                found[here, 0] = chunk[here, target[here] - first]
        return found


def expand(start: Ints, stop: Ints) -> tuple[Ints, Ints]:
    """Return the number of the slice and the flat index of each element of slices."""
    sizes = stop - start
    number = np.repeat(np.arange(len(sizes)), sizes)
    return number, np.arange(len(number)) + np.repeat(start - (np.cumsum(sizes) - sizes), sizes)
