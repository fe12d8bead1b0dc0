"""Confidence intervals of means over rows, where rows of one user are not independent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from okml.errors import ParameterError
from okml.seqrec.metrics import Floats

BLOCK = 2**24  # counts held at once


class Estimate(NamedTuple):
    """A mean, its percentile interval and its standard error."""

    mean: float
    low: float
    high: float
    standard_error: float


def resampled_means(
    values: Floats, users: NDArray[np.integer], resamples: int = 1_000, seed: int = 0
) -> Floats:
    """Return row means under resampling of users, ``[resamples, m]``.

    A resample draws as many users as there are, with replacement, each with all rows. A user who
    is drawn ``c`` times adds ``c`` times the sums and row counts, so rows are never copied.

    Args:
        values: Of each row, ``[r, m]``: metrics, or one metric of several models on the same
            rows, whose means then belong together.
        users: Of each row, ``[r]``.
        resamples: Number of resamples.
        seed: Of the draws.

    Raises:
        ParameterError: If there are fewer than two users, or values and users do not match.
    """
    unique, code = np.unique(users, return_inverse=True)
    count = len(unique)
    if count < 2 or len(users) != len(values):
        raise ParameterError(
            f"{len(values):,} rows of {count:,} users ({len(users):,} given) cannot be resampled."
        )
    # Sums and number of rows of each user, [u, m + 1].
    columns = [np.bincount(code, weights=column) for column in values.T]
    totals = np.stack([*columns, np.bincount(code).astype(np.float64)], axis=1)
    rng = np.random.default_rng(seed)
    sums = []
    height = max(1, BLOCK // count)
    for start in range(0, resamples, height):
        drawn = [
            np.bincount(rng.integers(count, size=count), minlength=count)
            for _ in range(start, min(start + height, resamples))
        ]
        sums.append(np.stack(drawn).astype(np.float64) @ totals)
    resampled = np.concatenate(sums)  # [resamples, m + 1]
    return resampled[:, :-1] / resampled[:, -1:]


def mean_intervals(
    metrics: Mapping[str, Floats],
    users: NDArray[np.integer],
    *,
    resamples: int = 1_000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """Return the mean of each column of row values with its interval.

    Args:
        metrics: Values ``[r]`` by name.
        users: Of each row, ``[r]``.
        resamples: Number of resamples.
        seed: Of the draws.
        level: Coverage.
    """
    values = np.stack(list(metrics.values()), axis=1)
    means = resampled_means(values, users, resamples, seed)
    return {
        name: _estimate(values[:, number], means[:, number], level)
        for number, name in enumerate(metrics)
    }


def paired_differences(
    metrics: Mapping[str, Floats],
    users: NDArray[np.integer],
    reference: str,
    *,
    resamples: int = 1_000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """Return, for each model but the reference, its mean minus the reference's.

    All models are resampled with the same users, so what makes a user hard for all of them
    cancels.

    Args:
        metrics: One metric of several models on the same rows, ``[r]`` by name of the model.
        users: Of each row, ``[r]``.
        reference: Name of the model to compare with.
        resamples: Number of resamples.
        seed: Of the draws.
        level: Coverage.

    Raises:
        ParameterError: If no model has the name of the reference.
    """
    if reference not in metrics:
        raise ParameterError(f"No model is called {reference!r}.", f"Known: {', '.join(metrics)}.")
    differences = {
        name: values - metrics[reference] for name, values in metrics.items() if name != reference
    }
    return mean_intervals(differences, users, resamples=resamples, seed=seed, level=level)


def _estimate(values: Floats, means: Floats, level: float) -> Estimate:
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(values.mean()), float(low), float(high), float(means.std(ddof=1)))
