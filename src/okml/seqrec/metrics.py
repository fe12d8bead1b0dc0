"""HR, NDCG and MRR at ``k``, from ranks that start at 1."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

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
    """Return ``hr@k``, ``ndcg@k`` and ``mrr@k`` of each row, ``[r]`` each."""
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
    """Return the mean over users of their means over rows, so that all users weigh the same.

    Args:
        values: A value of each row, ``[r]``.
        users: The user of each row, ``[r]``.
    """
    _, code = np.unique(users, return_inverse=True)
    return float((np.bincount(code, weights=values) / np.bincount(code)).mean())
