"""Confidence intervals of metrics over test entities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from okml.space_time.groups import group_codes
from okml.space_time.metrics import Floats


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def bootstrap_interval(
    metric: Callable[[Floats, Floats], float],
    y: Floats,
    p: Floats,
    *,
    resamples: int = 1_000,
    seed: int = 0,
    groups: NDArray[Any] | None = None,
    level: float = 0.95,
) -> Interval:
    """Return the percentile bootstrap interval of a metric over test entities.

    Args:
        metric: Of true and predicted targets, such as :func:`mean_r2`.
        y: True targets, [n, t].
        p: Predictions, [n, t].
        resamples: Number of resamples.
        seed: Of the resamples.
        groups: Where the split never separates entities of one creator or building, its labels:
            whole groups are then drawn, since their members are not independent. Entities
            without a label are groups of their own.
        level: Coverage.
    """
    units = _units(len(y), groups)
    result = stats.bootstrap(
        (np.arange(len(units)),),
        lambda drawn: _metric_of(metric, y, p, np.concatenate([units[i] for i in drawn])),
        n_resamples=resamples,
        confidence_level=level,
        method="percentile",
        vectorized=False,
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Interval(float(low), float(high))


def _metric_of(
    metric: Callable[[Floats, Floats], float], y: Floats, p: Floats, rows: NDArray[np.int64]
) -> float:
    return metric(y[rows], p[rows])


def _units(n: int, groups: NDArray[Any] | None) -> list[NDArray[np.int64]]:
    """Return the rows that are drawn together."""
    if groups is None:
        return list(np.arange(n)[:, None])
    codes, labels = group_codes(groups)
    alone = list(np.flatnonzero(codes < 0)[:, None])
    return [np.flatnonzero(codes == code) for code in range(len(labels))] + alone
