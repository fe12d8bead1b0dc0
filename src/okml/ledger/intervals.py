"""95 % intervals of metrics over what was sampled (users, names, images, ...) and over seeds.

A metric measured with S seeds on the same n units is a table of values ``[S, n]``. Seeds and units
are both samples: another seed and other units would have given another number. With the variance
of the means of seeds ``a``, of the means of units ``b`` and of what is left in single cells ``e``,
the mean of the table has the variance ``a/S + b/n + e/(S n)``. The first part, with its share of
``e``, is the variance of the seeds' means over S; it has only S - 1 degrees of freedom. So

    half width² = t²(S - 1) · var(means of seeds)/S + t²(n - 1) · b/n,

where ``b`` comes from the mean squares of the table. Burdick & Graybill (1992, "Confidence
Intervals on Variance Components") combine parts of a variance in this way. The tests measure the
coverage.

What is no mean (R², a ratio, a distance of distributions, a correlation) gets its table from a
jackknife: how much the statistic changes when a unit, or a group of units, is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from okml.errors import ParameterError
from okml.ledger.estimates import ALL_SEEDS, Estimate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LEVEL = 0.95
GROUPS = 50  # of the jackknife: enough degrees of freedom, few evaluations of a statistic


def estimate_mean(
    values: Floats | Mapping[int, Floats], over: str, *, clusters: NDArray[Any] | None = None
) -> Estimate:
    """Return a mean over rows with its interval.

    Where every row is 0, or every row 1, the interval is that of Clopper and Pearson: units that
    all agree do not prove that others would.

    Args:
        values: Of each row, ``[r]``, by seed; without seeds where no seed changes them. All seeds
            are measured on the same rows.
        over: What is sampled, such as "users".
        clusters: Of each row, ``[r]``, the label of what is sampled, where several rows belong to
            one; None: each row is sampled by itself.
    """
    tables = _by_seed(values)
    ones = {seed: np.ones(len(rows)) for seed, rows in tables.items()}
    found = _ratio(tables, ones, over, clusters, "mean")
    same = np.unique(np.concatenate(list(tables.values())))
    if len(same) > 1 or same[0] not in (0, 1):
        return found
    beyond = 1 - ((1 - LEVEL) / 2) ** (1 / found.n)
    low, high = (1 - beyond, 1.0) if same[0] else (0.0, beyond)
    return found.model_copy(
        update={"low": low, "high": high, "estimator": "share of equal units, Clopper-Pearson"}
    )


def estimate_difference(
    values: Floats | Mapping[int, Floats],
    control: Floats | Mapping[int, Floats],
    over: str,
    *,
    clusters: NDArray[Any] | None = None,
) -> Estimate:
    """Return the mean of a paired difference with its interval.

    Both are measured on the same rows, so that what makes a row hard for both cancels. Seeds that
    only one of them has are left out; values without seeds are paired with every seed.

    Args:
        values: Of each row, ``[r]``, by seed; see :func:`estimate_mean`.
        control: What is subtracted, in the same form.
        over: What is sampled.
        clusters: Of each row, the label of what is sampled.
    """
    tables = _by_seed(_difference(values, control))
    ones = {seed: np.ones(len(rows)) for seed, rows in tables.items()}
    return _ratio(tables, ones, over, clusters, "mean difference")


def estimate_ratio(
    numerator: Floats | Mapping[int, Floats],
    denominator: Floats | Mapping[int, Floats],
    over: str,
    *,
    clusters: NDArray[Any] | None = None,
) -> Estimate:
    """Return a ratio of sums over rows with its interval, by linearization (the delta method).

    Args:
        numerator: Of each row, ``[r]``, by seed; see :func:`estimate_mean`.
        denominator: In the same form, with the same seeds.
        over: What is sampled.
        clusters: Of each row, the label of what is sampled.

    Raises:
        ParameterError: If rows or seeds do not match, or a denominator is zero.
    """
    return _ratio(_by_seed(numerator), _by_seed(denominator), over, clusters, "ratio")


def estimate_statistic(
    statistic: Callable[[Ints, int], float],
    n: int,
    over: str,
    *,
    seeds: Sequence[int] | None = None,
    clusters: NDArray[Any] | None = None,
    groups: int = GROUPS,
) -> Estimate:
    """Return any smooth statistic of rows with its interval, by a delete-a-group jackknife.

    Rows are put into groups at random, and the statistic is computed without each group in turn.
    A quantile counts as smooth only while a group holds more rows than the square root of ``n``.

    Args:
        statistic: The statistic of the rows with these numbers, ``[k]``, for a seed. A difference
            of two arms is computed inside, on the same rows.
        n: The number of rows.
        over: What is sampled.
        seeds: The seeds; None: no seed changes the statistic, which is then called with 0.
        clusters: Of each row, ``[n]``, the label of what is sampled.
        groups: At most this many groups.

    Raises:
        ParameterError: If there are fewer than two rows or clusters.
    """
    sampled, code = np.unique(np.arange(n) if clusters is None else clusters, return_inverse=True)
    if len(sampled) < 2 or len(code) != n:
        raise ParameterError(f"{n:,} rows of {len(sampled):,} {over} make no interval.")
    groups = min(groups, len(sampled))
    group = np.random.default_rng(0).permutation(len(sampled))[code] % groups  # of each row, [n]
    rows = np.arange(n)
    points, table = [], []
    for seed in (0,) if seeds is None else seeds:
        whole = statistic(rows, seed)
        without = np.array([statistic(rows[group != left], seed) for left in range(groups)])
        points.append(whole)
        table.append(groups * whole - (groups - 1) * without)  # pseudo-values, [groups]
    named = [ALL_SEEDS] if seeds is None else [str(seed) for seed in seeds]
    estimator = _named(f"jackknife of {groups} groups", named, clusters)
    found = _estimate(named, np.array(points), np.stack(table), over, estimator)
    return found.model_copy(update={"n": len(sampled)})


def estimate_over_seeds(values: Mapping[int, float], *, n: int = 0, over: str = "") -> Estimate:
    """Return a mean over seeds with Student's interval, where each seed is one whole sample.

    It is for seeds that each draw units of their own (a world, its visitors), and for a number
    that nothing but the seed changes. Units that seeds share belong into the other functions.

    Args:
        values: By seed.
        n: How many units all seeds have together, to show it.
        over: What they are.
    """
    points, half = np.array(list(values.values()), dtype=np.float64), None
    if len(points) > 1:
        half = _t(len(points) - 1) * float(points.std(ddof=1)) / len(points) ** 0.5
    return _around(map(str, values), points, half, n, over, "mean over seeds, Student's t")


def _ratio(
    above: dict[str, Floats],
    below: dict[str, Floats],
    over: str,
    clusters: NDArray[Any] | None,
    what: str,
) -> Estimate:
    if list(above) != list(below):
        raise ParameterError("A ratio has the same seeds above and below.")
    if len({np.shape(rows) for rows in (*above.values(), *below.values())}) > 1:
        raise ParameterError(
            "All seeds share their rows.", "Units of their own belong in estimate_over_seeds."
        )
    kept = [np.stack([_sums(rows, clusters) for rows in side.values()]) for side in (above, below)]
    if not kept[1].any(-1).all():
        raise ParameterError("The denominator of a ratio is zero.")
    points, table = linearized(*kept)
    return _estimate(above, points, table, over, _named(what, above, clusters))


def linearized(above: Floats, below: Floats) -> tuple[Floats, Floats]:
    """Return ratios of sums over units and the table that has their variance.

    Args:
        above: Numerators, ``[..., S, n]``.
        below: Denominators, in the same shape.

    Returns:
        The ratio of each seed, ``[..., S]``, and ``[..., S, n]``: how each unit moves it.
    """
    points = above.mean(-1) / below.mean(-1)
    influence = (above - points[..., None] * below) / below.mean(-1)[..., None]
    return points, points[..., None] + influence


def half_width(points: Floats, table: Floats) -> Floats:
    """Return half the width of the interval of a mean over seeds, ``[...]``.

    Args:
        points: The value of each seed, ``[..., S]``.
        table: The table behind them, ``[..., S, n]``; see the text of this module.
    """
    seeds, n = table.shape[-2:]
    of_units = table.mean(-2)
    from_units = of_units.var(-1, ddof=1) / n
    if seeds == 1:
        return np.asarray(_t(n - 1) * np.sqrt(from_units))
    left = table - table.mean(-1)[..., None] - of_units[..., None, :]
    left += table.mean((-2, -1))[..., None, None]
    noise = (left**2).sum((-2, -1)) / ((seeds - 1) * (n - 1)) / (seeds * n)
    # The noise of single cells is in the variance of the seeds' means as well; once is enough.
    from_units = np.maximum(0, from_units - noise)
    from_seeds = points.var(-1, ddof=1) / seeds
    return np.asarray(np.sqrt(_t(seeds - 1) ** 2 * from_seeds + _t(n - 1) ** 2 * from_units))


def _estimate(
    seeds: Iterable[str], points: Floats, table: Floats, over: str, estimator: str
) -> Estimate:
    n = table.shape[-1]
    if n < 2:
        raise ParameterError(f"{n} {over} make no interval.", "Sample at least two.")
    return _around(seeds, points, float(half_width(points, table)), n, over, estimator)


def _around(
    seeds: Iterable[str], points: Floats, half: float | None, n: int, over: str, estimator: str
) -> Estimate:
    """Return the estimate with an interval of this half width; NaN or None: it has none."""
    certain = half is not None and np.isfinite(half)
    return Estimate(
        values={
            seed: float(value) if np.isfinite(value) else None
            for seed, value in zip(seeds, points, strict=True)
        },
        low=float(points.mean()) - half if half is not None and certain else None,
        high=float(points.mean()) + half if half is not None and certain else None,
        n=n,
        over=over,
        estimator=estimator if certain else "",
    )


def _t(freedom: int) -> float:
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))


def _named(what: str, seeds: Collection[str], clusters: NDArray[Any] | None) -> str:
    parts = [what]
    if clusters is not None:
        parts.append("clustered rows")
    parts.append("units" if len(seeds) == 1 else "units x seeds")
    return ", ".join([*parts, "Student's t"])


def _by_seed(values: Floats | Mapping[int, Floats]) -> dict[str, Floats]:
    if isinstance(values, Mapping):
        if not values:
            raise ParameterError("There is no seed to estimate from.")
        return {str(seed): np.asarray(rows, dtype=np.float64) for seed, rows in values.items()}
    return {ALL_SEEDS: np.asarray(values, dtype=np.float64)}


def _difference(
    values: Floats | Mapping[int, Floats], control: Floats | Mapping[int, Floats]
) -> Floats | dict[int, Floats]:
    if isinstance(values, Mapping):
        if isinstance(control, Mapping):
            return {seed: values[seed] - control[seed] for seed in values if seed in control}
        return {seed: rows - control for seed, rows in values.items()}
    if isinstance(control, Mapping):
        return {seed: values - rows for seed, rows in control.items()}
    return values - control


def _sums(rows: Floats, clusters: NDArray[Any] | None) -> Floats:
    """Return the sums of the rows of each cluster, ``[n]``."""
    if clusters is None:
        return rows
    if len(clusters) != len(rows):
        raise ParameterError(f"{len(clusters):,} labels for {len(rows):,} rows.")
    code = np.unique(clusters, return_inverse=True)[1]
    return np.bincount(code, weights=rows).astype(np.float64)
