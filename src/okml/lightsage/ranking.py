"""Where the target of a pair stands among all candidates, ties counted as a fair draw.

Members of a group share a vector, so exact ties are part of the method. Strict comparison would
rank each of them first, the opposite rule would rank each last; here a tie is broken at random and
its expectation is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from okml.errors import ParameterError

Numbers = NDArray[np.int64]
Scores = NDArray[np.float32]
Scorer = Callable[[Numbers], Scores]  # items [q] to scores of all items [q, N]

TIE = 1e-6  # scores closer than this are equal
BATCH_BYTES = 2**26  # of a matrix of scores


@dataclass(frozen=True, eq=False)
class Ranking:
    """The places of the targets of some pairs.

    Attributes:
        above: Candidates with a higher score than the target, ``[p]``.
        tied: Candidates with the target's score, itself included, ``[p]``.
    """

    above: Numbers
    tied: Numbers

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.above)

    def hit(self, k: int) -> NDArray[np.float64]:
        """Return the probability that each target is among the first ``k``, ``[p]``."""
        share: NDArray[np.float64] = np.clip((k - self.above) / self.tied, 0, 1)
        return share

    def reciprocal_rank(self, k: int) -> NDArray[np.float64]:
        """Return the expected 1 / rank, 0 below rank ``k``, ``[p]``."""
        ranks = np.arange(1, k + 1)
        return self._expected(1 / ranks)

    def ndcg(self, k: int) -> NDArray[np.float64]:
        """Return the expected 1 / log2(1 + rank), 0 below rank ``k``, ``[p]``."""
        ranks = np.arange(1, k + 1)
        return self._expected(1 / np.log2(1 + ranks))

    def _expected(self, gains: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average gains of the ranks above + 1 to above + tied."""
        total = np.concatenate([[0.0], np.cumsum(gains)])
        first = np.minimum(self.above, len(gains))
        last = np.minimum(self.above + self.tied, len(gains))
        mean: NDArray[np.float64] = (total[last] - total[first]) / self.tied
        return mean


def rank_pairs(
    scorer: Scorer,
    item: Numbers,
    target: Numbers,
    candidates: NDArray[np.bool_],
    product: Numbers | None = None,
) -> Ranking:
    """Rank each pair's target among all candidates but the item itself.

    Args:
        scorer: Scores of all items for some items.
        item: Whose page is looked at, ``[p]``.
        target: What was opened next, ``[p]``.
        candidates: Which items can be shown, ``[N]``.
        product: Of each item, ``[N]``: other listings of the viewed product are no candidates
            unless they are the target; None: they are.

    Raises:
        ParameterError: If a target is no candidate, or a score is not a number.
    """
    if not candidates[target].all():
        raise ParameterError("A target that cannot be shown has no rank; leave its pair out.")
    above = np.zeros(len(item), np.int64)
    tied = np.zeros(len(item), np.int64)
    for rows, queries, scores in _scored(scorer, item, candidates):
        places = np.searchsorted(queries, item[rows])
        table = scores[places]  # [r, N]
        own = table[np.arange(len(rows)), target[rows]][:, None]
        if product is not None:
            same = product[None, :] == product[item[rows]][:, None]
            same[np.arange(len(rows)), target[rows]] = False
            table = np.where(same, -np.inf, table)
        above[rows] = (table > own + TIE).sum(1)
        tied[rows] = (np.abs(table - own) <= TIE).sum(1)
    return Ranking(above, tied)


def top_lists(
    scorer: Scorer, items: Numbers, candidates: NDArray[np.bool_], k: int
) -> tuple[Numbers, Scores]:
    """Return the first ``k`` candidates of each item and their scores, best first, ``[q, k]``."""
    found = np.zeros((len(items), k), np.int64)
    values = np.zeros((len(items), k), np.float32)
    for rows, queries, scores in _scored(scorer, items, candidates):
        table = scores[np.searchsorted(queries, items[rows])]
        part = np.argpartition(-table, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(table, part, 1), axis=1, kind="stable")
        found[rows] = np.take_along_axis(part, order, 1)
        values[rows] = np.take_along_axis(table, found[rows], 1)
    return found, values


def _scored(
    scorer: Scorer, item: Numbers, candidates: NDArray[np.bool_]
) -> Iterator[tuple[Numbers, Numbers, Scores]]:
    """Yield rows of ``item``, their distinct items and those items' scores, in batches."""
    order = np.argsort(item, kind="stable")
    height = max(1, BATCH_BYTES // (4 * len(candidates)))
    for start in range(0, len(item), height):
        rows = order[start : start + height]
        queries = np.unique(item[rows])
        scores = np.array(scorer(queries), np.float32)  # a copy: it is written to
        if np.isnan(scores).any():
            raise ParameterError("A score is not a number.")
        scores[:, ~candidates] = -np.inf
        scores[np.arange(len(queries)), queries] = -np.inf
        yield rows, queries, scores


def vector_scorer(vectors: Scores) -> Scorer:
    """Return inner products with the vectors of all items, ``[N, d]``."""
    return lambda items: vectors[items] @ vectors.T
