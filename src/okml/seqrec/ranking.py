"""The rank of an item in the whole catalog, without a users × items matrix of scores.

``rank = 1 + #{j ≠ y: s_j ≥ s_y}`` over all items ``j`` but the padding: ties count against the
model, so constant scores give the worst rank, not the best. There is no sorting.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.errors import ParameterError, TrainingError
from okml.runtime import progress
from okml.seqrec.batches import LastTargetBatches
from okml.seqrec.interactions import Ints
from okml.seqrec.scorers import ChunkScores, Scorer

Ranks = NDArray[np.float64]  # whole numbers, or with ties "middle" multiples of 0.5

# pessimistic: all ties rank before the target; middle: half of them do.
Ties = Literal["pessimistic", "middle"]

WIDEST = 2**24  # counts up to here are exact in float32


@torch.inference_mode()
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
    if batch_size < 1 or limit < 1:
        raise ParameterError("The batch size and the limit of scores must be at least 1.")
    if not len(source):
        raise ParameterError("There are no rows to rank.", "Loosen the filter on histories.")
    comparison = _Comparison(source, hide_seen, ties, limit)
    rng = np.random.default_rng(0)  # batches need it for negatives, which are not used here
    halves: list[Tensor] = []  # an item before a target counts twice, so that they are integers
    for start in progress(range(0, len(source), batch_size), "ranking"):
        rows = np.arange(start, min(start + batch_size, len(source)))
        batch = source.batch(rows, rng)
        batch = batch if device is None else batch.to(device)
        halves += comparison.halves(scorer(batch), rows, batch.items.device)
    comparison.check()
    return 1 + np.concatenate([half.cpu().numpy() for half in halves]) / 2


class _Comparison:
    """Ranks the targets of rows, as many at a time as the limit allows."""

    def __init__(self, source: LastTargetBatches, hide_seen: bool, ties: Ties, limit: int) -> None:
        self.interactions, self.rows = source.interactions, source.rows
        self.targets = source.targets()
        self.hide_seen = hide_seen
        self.ties = ties
        items = self.interactions.item_count
        self.height = max(1, limit // items)  # rows
        width = min(items, limit, WIDEST)
        self.spans = [(a, min(a + width, items + 1)) for a in range(1, items + 1, width)]
        self.largest: list[Tensor] = []  # largest score of each chunk; NaN if any score is NaN

    def halves(self, scores: ChunkScores, batch: Ints, device: torch.device) -> Iterator[Tensor]:
        """Yield twice the items before the targets of consecutive rows, whose scores are given."""
        for first in range(0, len(batch), self.height):
            rows = batch[first : first + self.height]
            places = torch.from_numpy(rows - batch[0]).to(device)
            target = torch.from_numpy(self.targets[rows]).to(device)
            yield self._count(scores, places, target, self._outside(rows, device))

    def check(self) -> None:
        """Raise if a score was NaN; called once, since it synchronizes with the GPU."""
        if self.largest and torch.stack(self.largest).isnan().any():
            raise TrainingError(
                "The model gave scores that are not numbers, so nothing can be ranked.",
                "Lower the learning rate or clip gradients, and start again.",
            )

    def _outside(self, rows: Ints, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the excluded items as (row, item): targets, and seen items if hidden."""
        row, item = np.arange(len(rows)), self.targets[rows]
        if self.hide_seen:
            first, end = self.interactions.offsets[self.rows.user[rows]], self.rows.end[rows]
            row = np.concatenate([row, np.repeat(row, end - first)])
            places = [np.arange(*bounds) for bounds in zip(first, end, strict=True)]
            seen = self.interactions.items[np.concatenate(places)].astype(np.int64)
            item = np.concatenate([item, seen])
        return torch.from_numpy(row).to(device), torch.from_numpy(item).to(device)

    def _count(
        self, scores: ChunkScores, rows: Tensor, target: Tensor, outside: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return twice the number of items that rank before each target, int64 ``[m]``.

        In the middle of ties, each counts as half an item.
        """
        halves = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
        bar = None if len(self.spans) == 1 else self._target_scores(scores, rows, target)
        for first, last in self.spans:
            chunk = scores(rows, first, last)  # [m, w]
            self.largest.append(chunk.amax())
            if bar is None:
                bar = chunk.gather(1, (target - first)[:, None])  # [m, 1]
            row, item = outside
            if len(self.spans) > 1:
                here = (item >= first) & (item < last)
                row, item = row[here], item[here]
            above = (chunk > bar).float() if self.ties == "middle" else None
            # In place, without a second matrix: 1 where an item is not below the target.
            for compared in (chunk.ge_(bar), above):
                if compared is not None:
                    compared[row, item - first] = 0
                    halves += compared.sum(1).long()
        return halves if self.ties == "middle" else 2 * halves

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
