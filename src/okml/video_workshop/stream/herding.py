"""Selection of exemplars by herding: their mean stays closest to the mean of all examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from okml.seqrec.interactions import Ints

Vectors = NDArray[np.float32]


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
