"""The rank of a pair's target among all candidates, in expectation over random tie-breaking.

Members of a group share a vector, so exact ties are part of the method. A strict comparison would
rank all of them first, the opposite rule all of them last; here metrics are expectations over
random orders of ties.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.errors import ParameterError

Numbers = NDArray[np.int64]
# Items, int64 [q] on the CPU, to scores of all items, [q, N] on any device, where they are ranked.
Scorer = Callable[[Tensor], Tensor]

TIE = 1e-6  # scores closer than this are equal
# Size of a score matrix. On the CPU it stays in a cache, and its memory is used again; a GPU idles
# between small ones.
BATCH_BYTES, GPU_BATCH_BYTES = 2**22, 2**28


@dataclass(frozen=True, eq=False)
class TiedRanks:
    """The ranks of the targets of some pairs.

    Attributes:
        above: Number of candidates with a higher score than the target, ``[p]``.
        tied: Number of candidates with the target's score, itself included, ``[p]``.
    """

    above: Numbers
    tied: Numbers

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.above)

    def where(self, kept: NDArray[np.bool_]) -> TiedRanks:
        """Return the pairs that are ``kept``, a mask ``[p]``."""
        return TiedRanks(self.above[kept], self.tied[kept])

    def hit(self, k: int) -> NDArray[np.float64]:
        """Return the probability that each target is among the first ``k``, ``[p]``.

        Raises:
            ParameterError: If a target is no candidate.
        """
        self._check()
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
        """Return the mean gain over the ranks above + 1 to above + tied."""
        self._check()
        total = np.concatenate([[0.0], np.cumsum(gains)])
        first = np.minimum(self.above, len(gains))
        last = np.minimum(self.above + self.tied, len(gains))
        mean: NDArray[np.float64] = (total[last] - total[first]) / self.tied
        return mean

    def _check(self) -> None:
        if (self.tied == 0).any():
            raise ParameterError("A target that cannot be shown has no rank; leave its pair out.")


@dataclass(frozen=True, eq=False)
class Rule:
    """The candidates that are ranked with the target; the viewed item is never one.

    Attributes:
        candidates: Mask of the items that can be shown, ``[N]``; None: all.
        clones: Other listings of each item's product, ``[N, C]``, padded with -1, which are no
            candidates when the item is viewed; None: they are candidates.
    """

    candidates: NDArray[np.bool_] | None = None
    clones: Numbers | None = None


EVERYTHING = Rule()


def rank_pairs(
    scorer: Scorer, item: Numbers, target: Numbers, rules: Sequence[Rule] = (EVERYTHING,)
) -> list[TiedRanks]:
    """Rank each pair's target under one rule or more, scoring once.

    Args:
        scorer: Function from items to the scores of all items.
        item: Viewed items, ``[p]``.
        target: Items opened next, ``[p]``.
        rules: Rules of the candidates.

    Returns:
        A ranking for each rule; ``tied`` is 0 if the target is no candidate.

    Raises:
        ParameterError: If a score is NaN.
    """
    shape = (len(rules), len(item))
    above, tied = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for rows, places, scores in _scored(scorer, item):
        device = scores.device
        table = scores if len(scores) == len(places) else scores[places]  # [r, N]
        viewed = torch.from_numpy(item[rows]).to(device)
        own = table.gather(1, torch.from_numpy(target[rows]).to(device).unsqueeze(1))  # [r, 1]
        higher, reached = table > own + TIE, table >= own - TIE
        for number, rule in enumerate(rules):
            counts = [_count(marked, rule, viewed) for marked in (higher, reached)]
            over, up_to = torch.stack(counts).cpu().numpy()
            above[number, rows], tied[number, rows] = over, up_to - over
    found = []
    for number, rule in enumerate(rules):
        shown = np.ones(len(item), bool) if rule.candidates is None else rule.candidates[target]
        if rule.clones is not None:
            shown = shown & (rule.clones[item] != target[:, None]).all(1)
        found.append(TiedRanks(above[number], np.where(shown, tied[number], 0)))
    return found


def _count(marked: Tensor, rule: Rule, item: Tensor) -> Tensor:
    """Count the marked candidates, ``[r]``."""
    if rule.candidates is not None:
        marked = marked & torch.from_numpy(rule.candidates).to(marked.device)
    counts = marked.count_nonzero(dim=1)
    if rule.clones is not None:
        clones = torch.from_numpy(rule.clones).to(marked.device)[item]  # [r, C]
        counts = counts - (marked.gather(1, clones.clamp(min=0)) & (clones >= 0)).sum(1)
    return counts


def clones_of(product: Numbers) -> Numbers:
    """Return the other listings of each item's product, ``[N, C]``, padded with -1."""
    order = np.argsort(product, kind="stable")
    _, first, sizes = np.unique(product[order], return_index=True, return_counts=True)
    members = np.full((len(sizes), int(sizes.max())), -1, np.int64)
    rows = np.repeat(np.arange(len(sizes)), sizes)
    members[rows, np.arange(len(product)) - first[rows]] = order
    code = np.empty(len(product), np.int64)
    code[order] = rows
    clones = members[code]  # [N, C], the item itself among them
    return np.where(clones == np.arange(len(product))[:, None], -1, clones)


def top_lists(scorer: Scorer, items: Numbers, k: int) -> Numbers:
    """Return the first ``k`` of all other items for each item, best first, ``[q, k]``.

    Ties are broken by the lower number.
    """
    found = np.zeros((len(items), k), np.int64)
    for rows, places, scores in _scored(scorer, items):
        found[rows] = _first(scores, k)[places].cpu().numpy()
    return found


def _first(scores: Tensor, k: int) -> Tensor:
    """Return the places of the ``k`` highest scores of each row, the lower one of equals first.

    ``topk`` may take any of the scores that equal the last one.
    """
    last = scores.topk(k, dim=1).values[:, -1:]
    above, equal = scores > last, scores == last
    left = k - above.sum(1, keepdim=True)
    chosen = above | (equal & (equal.cumsum(1) <= left))
    places = chosen.nonzero()[:, 1].view(len(scores), k)
    order = scores.gather(1, places).sort(dim=1, descending=True, stable=True).indices
    return places.gather(1, order)


def _scored(scorer: Scorer, item: Numbers) -> Iterator[tuple[Numbers, Tensor, Tensor]]:
    """Yield rows of ``item``, the place of each row's item, and scores of the items, in batches.

    The viewed item's own score is below all others.
    """
    if not len(item):
        return
    order = np.argsort(item, kind="stable")
    first = scorer(torch.from_numpy(item[:1]))  # [1, N]
    bytes_at_once = BATCH_BYTES if first.device.type == "cpu" else GPU_BATCH_BYTES
    height = max(1, bytes_at_once // (4 * first.shape[1]))
    for start in range(0, len(item), height):
        rows = order[start : start + height]
        queries, places = np.unique(item[rows], return_inverse=True)
        viewed = torch.from_numpy(queries)
        scores = scorer(viewed).to(torch.float32, copy=True)  # it is written to
        if scores.sum().isnan() and scores.isnan().any():  # a sum is ten times as fast
            raise ParameterError("A score is not a number.")
        scores.scatter_(1, viewed.to(scores.device).unsqueeze(1), -torch.inf)
        yield rows, torch.from_numpy(places).to(scores.device), scores


def vector_scorer(vectors: Tensor) -> Scorer:
    """Return a scorer by inner products of the vectors of all items, ``[N, d]``."""
    return lambda items: vectors[items] @ vectors.T
