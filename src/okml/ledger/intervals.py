"""95 % confidence intervals of metrics over sampled units (users, names, images, ...) and seeds.

A metric measured with S seeds on the same n units is a table of values ``[S, n]``. Seeds and units
are both random effects. With the variance components ``a`` of seeds, ``b`` of units and ``e`` of
the residual in single cells, the mean of the table has the variance ``a/S + b/n + e/(S n)``. The
first part, with its share of ``e``, is the variance of the seeds' means over S; it has only S - 1
degrees of freedom. So

    half width² = t²(S - 1) · var(means of seeds)/S + t²(n - 1) · b/n,

where ``b`` comes from the mean squares of the table. Burdick & Graybill (1992, "Confidence
Intervals on Variance Components") combine parts of a variance in this way. The tests measure the
coverage.

For other statistics (R², a ratio, a distance of distributions, a correlation) the table holds
jackknife pseudo-values: the change of the statistic when a unit, or a group of units, is left out.
"""

from __future__ import annotations

import math
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
GROUPS = 50  # groups of the jackknife: enough degrees of freedom, few evaluations


def estimate_mean(
    values: Floats | Mapping[int, Floats], over: str, *, clusters: NDArray[Any] | None = None
) -> Estimate:
    """Return a mean over rows with its interval.

    Where every row is 0, or every row is 1, the sample variance is zero and the interval is that
    of Clopper and Pearson (1934, Biometrika 26).

    Args:
        values: One array of the rows' values, ``[r]``, for each seed, all on the same rows; a
            single array if the values do not depend on the seed.
        over: The name of the sampled units, such as "users".
        clusters: The label of each row's sampled unit, ``[r]``, where a unit has several rows;
            None if each row is a unit.

    Raises:
        ParameterError: If there is no seed, if seeds or labels do not match in rows, or if there
            are fewer than two rows or clusters.
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

    Both are measured on the same rows, so that the rows' common difficulty cancels. Seeds that
    only one of them has are left out; values without seeds are paired with every seed.

    Args:
        values: The rows' values by seed, or one array ``[r]``; see :func:`estimate_mean`.
        control: The values to subtract, in the same form.
        over: The name of the sampled units.
        clusters: The label of each row's sampled unit, ``[r]``; None if each row is a unit.

    Raises:
        ParameterError: If the two have no seed in common, if seeds or labels do not match in rows,
            or if there are fewer than two rows or clusters.
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
        numerator: The rows' numerators by seed, or one array ``[r]``; see :func:`estimate_mean`.
        denominator: The rows' denominators, in the same form and with the same seeds.
        over: The name of the sampled units.
        clusters: The label of each row's sampled unit, ``[r]``; None if each row is a unit.

    Raises:
        ParameterError: If rows or seeds do not match, if all denominators of a seed are zero, or
            if there are fewer than two rows or clusters.
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

    Rows are assigned to groups at random, and the statistic is computed without each group in turn
    (Kott 2001, "The Delete-a-Group Jackknife", Journal of Official Statistics 17). A quantile
    counts as smooth only while a group holds more rows than the square root of ``n`` (Shao & Wu
    1989, "A General Theory for Jackknife Variance Estimation", Annals of Statistics 17).

    Args:
        statistic: A function from row numbers ``[k]`` and a seed to the statistic. It computes a
            difference of two arms inside, on the same rows.
        n: The number of rows.
        over: The name of the sampled units.
        seeds: The seeds; None if the statistic ignores the seed, which is then 0.
        clusters: The label of each row's sampled unit, ``[n]``; None if each row is a unit.
        groups: The largest number of groups; there are no more than sampled units.

    Raises:
        ParameterError: If there are fewer than two rows or clusters.
    """
    kept, count = left_out(n, over, clusters=clusters, groups=groups)
    values = {
        seed: np.array([statistic(rows, seed) for rows in kept])
        for seed in ((0,) if seeds is None else seeds)
    }
    given = values[0] if seeds is None else values
    return estimate_left_out(given, count, over, clustered=clusters is not None)


def left_out(
    n: int, over: str, *, clusters: NDArray[Any] | None = None, groups: int = GROUPS
) -> tuple[list[Ints], int]:
    """Return all rows, then the rows without each group of a delete-a-group jackknife.

    Args:
        n: The number of rows.
        over: The name of the sampled units.
        clusters: The label of each row's sampled unit, ``[n]``; None if each row is a unit.
        groups: The largest number of groups, into which rows are put at random.

    Returns:
        ``1 + groups`` lists of rows, and the number of sampled rows or clusters.

    Raises:
        ParameterError: If there are fewer than two rows or clusters.
    """
    sampled, code = np.unique(np.arange(n) if clusters is None else clusters, return_inverse=True)
    if len(sampled) < 2 or len(code) != n:
        raise ParameterError(f"{n:,} rows of {len(sampled):,} {over} make no interval.")
    groups = min(groups, len(sampled))
    group = np.random.default_rng(0).permutation(len(sampled))[code] % groups  # [n]
    rows = np.arange(n)
    return [rows, *(rows[group != left] for left in range(groups))], len(sampled)


def estimate_left_out(
    values: Floats | Mapping[int, Floats], n: int, over: str, *, clustered: bool = False
) -> Estimate:
    """Return a statistic with its interval, from its values without each group of rows.

    A comparison of arms that are measured on the same rows is computed from their values, element
    by element.

    Args:
        values: The statistic of each list of rows of :func:`left_out`, ``[1 + groups]``, by seed;
            without seeds where no seed changes it.
        n: The number of sampled rows or clusters.
        over: The name of the sampled units.
        clustered: Whether the rows came in clusters, which the name of the estimator states.

    Raises:
        ParameterError: If there is no seed, or if there are fewer than two groups.
    """
    tables = _by_seed(values)
    points = np.array([given[0] for given in tables.values()])
    groups = len(next(iter(tables.values()))) - 1
    table = np.stack(  # pseudo-values, [S, groups]
        [groups * given[0] - (groups - 1) * given[1:] for given in tables.values()]
    )
    estimator = _named(f"jackknife of {groups} groups", tables, clustered)
    found = _estimate(tables, points, table, over, estimator)
    return found.model_copy(update={"n": n})


def estimate_over_seeds(values: Mapping[int, float], *, n: int = 0, over: str = "") -> Estimate:
    """Return a mean over seeds with Student's t interval, where each seed is one whole sample.

    It is for seeds that each draw units of their own (a world, its visitors), and for a number
    that only the seed changes. Units that seeds share need the other functions.

    Args:
        values: The value of each seed.
        n: The number of units of all seeds together, for display; 0 if only seeds are sampled.
        over: The name of the units, for display.

    Returns:
        The mean with its interval; without an interval if there is one seed.
    """
    points, half = np.array(list(values.values()), dtype=np.float64), None
    if len(points) > 1:
        half = _t(len(points) - 1) * float(points.std(ddof=1)) / len(points) ** 0.5
    return _around(map(str, values), points, half, n, over, "mean over seeds, Student's t")


def estimate_positive_over_seeds(
    values: Mapping[int, float], *, n: int = 0, over: str = ""
) -> Estimate:
    """Return a mean over seeds of a positive quantity that differs by factors between them.

    The interval is Student's interval of the mean logarithm, that is, of the geometric mean, so
    that it holds no value below zero.

    Args:
        values: The value of each seed.
        n: The number of units of all seeds together, for display; 0 if only seeds are sampled.
        over: The name of the units, for display.

    Raises:
        ParameterError: If a value is zero or negative.
    """
    if min(values.values()) <= 0:
        raise ParameterError("A quantity with a geometric mean is positive.")
    logs = {seed: math.log(value) for seed, value in values.items()}
    found = estimate_over_seeds(logs, n=n, over=over)
    return found.model_copy(
        update={
            "values": {str(seed): value for seed, value in values.items()},
            "low": None if found.low is None else math.exp(found.low),
            "high": None if found.high is None else math.exp(found.high),
            "estimator": found.estimator and "geometric mean over seeds, Student's t",
        }
    )


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
    return _estimate(above, points, table, over, _named(what, above, clusters is not None))


def linearized(above: Floats, below: Floats) -> tuple[Floats, Floats]:
    """Return ratios of sums over units, and their linearization in the units.

    Args:
        above: Numerators, ``[..., S, n]``.
        below: Denominators, ``[..., S, n]``.

    Returns:
        The ratio of each seed, ``[..., S]``, and the ratio plus each unit's influence on it,
        ``[..., S, n]``.
    """
    points = above.mean(-1) / below.mean(-1)
    influence = (above - points[..., None] * below) / below.mean(-1)[..., None]
    return points, points[..., None] + influence


def half_width(points: Floats, table: Floats) -> Floats:
    """Return half the width of the interval of a mean over seeds, ``[...]``.

    Args:
        points: The value of each seed, ``[..., S]``.
        table: The table of seeds and units, ``[..., S, n]``; see the module's docstring.
    """
    seeds, n = table.shape[-2:]
    of_units = table.mean(-2)
    from_units = of_units.var(-1, ddof=1) / n
    if seeds == 1:
        return np.asarray(_t(n - 1) * np.sqrt(from_units))
    left = table - table.mean(-1)[..., None] - of_units[..., None, :]
    left += table.mean((-2, -1))[..., None, None]
    noise = (left**2).sum((-2, -1)) / ((seeds - 1) * (n - 1)) / (seeds * n)
    # The residual is in the variance of the seeds' means as well and must count once.
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
    """Return the estimate with an interval of this half width; without one if it is NaN or None."""
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


def _named(what: str, seeds: Collection[str], clustered: bool) -> str:
    parts = [what]
    if clustered:
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
