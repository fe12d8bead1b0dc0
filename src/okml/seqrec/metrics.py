"""HR, NDCG, MRR and recall at ``k``, from ranks that start at 1."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from okml.errors import ParameterError
from okml.seqrec.interactions import Ints
from okml.seqrec.ranking import Ranks

Floats = NDArray[np.float64]


def hit(ranks: Ranks, k: int) -> Floats:
    """Return 1 for each row whose one relevant item is among the first ``k``, ``[r]``."""
    return (ranks <= k).astype(np.float64)


def reciprocal_rank(ranks: Ranks, k: int) -> Floats:
    """Return ``1 / rank`` of each row's one relevant item, 0 beyond ``k``, ``[r]``."""
    return np.where(ranks <= k, 1 / ranks, 0.0)


def ndcg(ranks: Ranks, k: int) -> Floats:
    """Return ``1 / log2(rank + 1)`` of each row's one relevant item, 0 beyond ``k``, ``[r]``."""
    return np.where(ranks <= k, 1 / np.log2(ranks + 1), 0.0)


def row_metrics(ranks: Ranks, ks: Iterable[int] = (10,)) -> dict[str, Floats]:
    """Return ``hr@k``, ``ndcg@k`` and ``mrr@k`` of each row."""
    found = {}
    for k in ks:
        found[f"hr@{k}"] = hit(ranks, k)
        found[f"ndcg@{k}"] = ndcg(ranks, k)
        found[f"mrr@{k}"] = reciprocal_rank(ranks, k)
    return found


def mean_metrics(ranks: Ranks, ks: Iterable[int] = (10,)) -> dict[str, float]:
    """Return the means of :func:`row_metrics` over rows."""
    return {name: float(values.mean()) for name, values in row_metrics(ranks, ks).items()}


def user_mean(values: Floats, users: NDArray[np.integer]) -> float:
    """Return the mean over users of their means over rows, so that all users weigh the same."""
    _, code = np.unique(users, return_inverse=True)
    return float((np.bincount(code, weights=values) / np.bincount(code)).mean())


def recall(ranks: Ranks, row: Ints, k: int) -> Floats:
    """Return the share of each row's relevant items that is among the first ``k``, ``[r]``.

    Args:
        ranks: The ranks of all relevant items of all rows, ``[m]``.
        row: The row of each relevant item, ``[m]``, from 0 to ``r - 1`` without gaps.
        k: The length of the list.

    Raises:
        ParameterError: If a row has no relevant item.
    """
    found: Floats = np.bincount(row, weights=hit(ranks, k)) / _relevant(row)
    return found


def ndcg_of_several(ranks: Ranks, row: Ints, k: int) -> Floats:
    """Return NDCG of each row with several relevant items, all of gain 1, ``[r]``.

    The ideal list starts with ``min(k, relevant)`` relevant items. Arguments and errors are those
    of :func:`recall`. With one relevant item in each row it equals :func:`ndcg`.
    """
    ideal = np.cumsum(1 / np.log2(np.arange(1, k + 1) + 1))  # [k]
    best = ideal[np.minimum(_relevant(row), k) - 1]
    found: Floats = np.bincount(row, weights=ndcg(ranks, k)) / best
    return found


def _relevant(row: Ints) -> Ints:
    count = np.bincount(row)
    if not len(count) or not count.all():
        raise ParameterError("A row has no relevant item, so its metrics are not defined.")
    return count
