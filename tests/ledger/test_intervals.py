"""Intervals: against closed forms and other estimators, and how often they hold the truth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from okml.errors import ParameterError
from okml.ledger import (
    estimate_difference,
    estimate_left_out,
    estimate_mean,
    estimate_over_seeds,
    estimate_positive_over_seeds,
    estimate_ratio,
    estimate_statistic,
    intervals,
    left_out,
)

RNG = np.random.default_rng(0)


def students(values, level=0.95):
    return stats.t.interval(level, len(values) - 1, np.mean(values), stats.sem(values))


def test_without_seeds_a_mean_has_students_interval():
    values = RNG.exponential(size=40)
    found = estimate_mean(values, "users")
    assert (found.low, found.high) == pytest.approx(students(values))
    assert (found.mean, found.n, found.over, found.seeds) == (values.mean(), 40, "users", 0)


def test_one_seed_says_so_and_covers_units_alone():
    values = RNG.normal(size=30)
    found = estimate_mean({7: values}, "users")
    assert (found.low, found.high) == pytest.approx(students(values))
    assert (found.seeds, list(found.values)) == (1, ["7"])


def test_rows_that_never_vary_leave_the_seeds_interval():
    levels = [1.0, 2.0, 4.0]
    found = estimate_mean({seed: np.full(50, level) for seed, level in enumerate(levels)}, "users")
    assert (found.low, found.high) == pytest.approx(students(levels))


def test_seeds_that_never_vary_leave_the_units_interval():
    values = RNG.normal(size=50)
    found = estimate_mean(dict.fromkeys(range(3), values), "users")
    assert (found.low, found.high) == pytest.approx(students(values))


def test_rows_of_one_user_are_one_unit():
    of_users = RNG.normal(size=25)
    users = np.repeat(np.arange(25), 8)
    found = estimate_mean(np.repeat(of_users, 8), "users", clusters=users)
    assert (found.low, found.high) == pytest.approx(students(of_users))
    assert found.n == 25


def test_users_with_many_rows_count_as_in_a_ratio_of_sums():
    sizes = RNG.integers(1, 20, 500)
    users, values = np.repeat(np.arange(500), sizes), np.repeat(RNG.random(500), sizes)
    found = estimate_mean(values, "users", clusters=users)
    residual = np.bincount(users, weights=values - values.mean())
    standard_error = np.sqrt((residual**2).sum()) / sizes.sum()
    assert found.mean == pytest.approx(values.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.965 * standard_error, rel=0.01)


def test_what_both_arms_share_cancels_in_a_difference():
    hard = RNG.normal(size=200)
    own = {seed: hard + 0.1 + 0.01 * RNG.normal(size=200) for seed in range(3)}
    found = estimate_difference(own, hard, "users")
    assert 0.09 < found.low < 0.1 < found.high < 0.11
    twin = {seed: rows - 0.1 for seed, rows in own.items() if seed > 0}
    paired = estimate_difference(own, twin, "users")
    assert list(paired.values) == ["1", "2"]
    assert (paired.low, paired.high) == pytest.approx((0.1, 0.1))


def test_a_jackknife_of_a_mean_is_the_mean():
    values = RNG.exponential(size=(3, 45))
    by_seed = dict(enumerate(values))
    found = estimate_statistic(
        lambda rows, seed: values[seed, rows].mean(), 45, "users", seeds=[0, 1, 2]
    )
    mean = estimate_mean(by_seed, "users")
    assert (found.low, found.mean, found.high) == pytest.approx((mean.low, mean.mean, mean.high))


def test_a_jackknife_of_a_ratio_is_close_to_the_delta_method():
    above = RNG.exponential(size=2000)
    below = above + RNG.exponential(size=2000)
    jackknife = estimate_statistic(
        lambda rows, _: above[rows].sum() / below[rows].sum(), 2000, "users", groups=400
    )
    delta = estimate_ratio(above, below, "users")
    assert jackknife.mean == pytest.approx(delta.mean)
    assert jackknife.high - jackknife.low == pytest.approx(delta.high - delta.low, rel=0.15)


def test_a_group_is_left_out_as_a_whole():
    seen = []
    clusters = np.array(list("aabbccdd"))
    estimate_statistic(lambda rows, _: seen.append(set(clusters[rows])) or 0.0, 8, "names",
                       clusters=clusters)  # fmt: skip
    assert sorted(map(len, seen)) == [3, 3, 3, 3, 4]


def test_measures_without_groups_compare_arms_as_linearization_does():
    above, below = (RNG.gamma(9, size=(3, 400)) + RNG.gamma(2, size=400) for _ in range(2))
    kept, count = left_out(400, "images")
    values = {
        seed: np.array([above[seed, rows].mean() / below[seed, rows].mean() for rows in kept])
        for seed in range(3)
    }
    found = estimate_left_out(values, count, "images")
    expected = estimate_ratio(dict(enumerate(above)), dict(enumerate(below)), "images")
    assert found.numbers == pytest.approx(expected.numbers)
    assert found.n == 400
    assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.25)


def test_seeds_with_units_of_their_own_have_students_interval():
    found = estimate_over_seeds({0: 1.0, 1: 2.0, 5: 4.0}, n=3000, over="visitors")
    assert (found.low, found.high) == pytest.approx(students([1.0, 2.0, 4.0]))
    assert (found.n, found.over, found.seeds) == (3000, "visitors", 3)
    assert estimate_over_seeds({0: 1.0}).interval is None


@pytest.mark.parametrize("share", [0, 1])
def test_units_that_all_agree_do_not_prove_the_rest(share):
    found = estimate_mean({seed: np.full(30, share) for seed in range(3)}, "images")
    exact = stats.binomtest(30 * share, 30).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert estimate_difference(np.ones(30), np.ones(30), "images").interval == (0, 0)


def test_what_is_undefined_for_one_seed_has_no_interval():
    found = estimate_mean({0: np.array([1.0, np.nan]), 1: np.array([1.0, 2.0])}, "users")
    assert found.interval is None
    assert found.values == {"0": None, "1": 1.5}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: estimate_mean(np.ones(1), "users"), "1 users make no interval"),
        (lambda: estimate_mean({0: np.ones(3), 1: np.ones(4)}, "users"), "share their rows"),
        (lambda: estimate_mean(np.ones(3), "users", clusters=np.ones(2)), "2 labels for 3 rows"),
        (lambda: estimate_difference({0: np.ones(3)}, {1: np.ones(3)}, "users"), "no seed"),
        (lambda: estimate_ratio(np.ones(3), np.zeros(3), "users"), "denominator"),
        (lambda: estimate_ratio({0: np.ones(3)}, np.ones(3), "users"), "same seeds"),
        (lambda: estimate_statistic(lambda *_: 0.0, 1, "names"), "make no interval"),
    ],
)
def test_what_makes_no_interval_is_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


TRIALS = 2_000
UNITS = 150


def normal(rng, shape):
    return rng.normal(size=shape)


def skewed(rng, shape):
    return rng.exponential(size=shape) - 1  # skewness 2


def tables(rng, draw, seeds, seed_sd, noise_sd):
    """Measure a world again and again: seeds and units drawn anew, ``[TRIALS, seeds, UNITS]``."""
    of_seeds = seed_sd * rng.normal(size=(TRIALS, seeds, 1))
    return of_seeds + draw(rng, (TRIALS, 1, UNITS)) + noise_sd * draw(rng, (TRIALS, seeds, UNITS))


# A seventh of the worlds each time, with each value of each part.
WORLDS = [
    pytest.param(*world, marks=pytest.mark.nightly if number % 7 else ())
    for number, world in enumerate(
        itertools.product(
            ("mean", "difference", "ratio"),
            (normal, skewed),
            (3, 5),
            (0.0, 0.03, 0.1, 0.3, 3.0),  # a mean of units varies by .08
            (0.3, 3.0),
        )
    )
]


@pytest.mark.parametrize(("kind", "draw", "seeds", "seed_sd", "noise_sd"), WORLDS)
def test_intervals_hold_the_truth(kind, draw, seeds, seed_sd, noise_sd):
    """Coverage is at least 93 % whatever varies: seeds, units, or single cells of the table.

    By 2,000 trials it is known to half a point (binomial). The generator is fixed, and the lowest
    coverage seen here is 94.2 %.
    """
    rng = np.random.default_rng(len(kind) + 10 * seeds + int(100 * seed_sd) + int(10 * noise_sd))
    table, other = (tables(rng, draw, seeds, seed_sd, noise_sd) for _ in range(2))
    if kind == "ratio":
        above, below = 5 + 0.15 * (table + other), 5 + 0.15 * (table - other)
        points, table = intervals.linearized(above, below)
        a, b = seed_sd * rng.normal(size=(2, 1_000_000))
        truth = ((5 + 0.15 * (a + b)) / (5 + 0.15 * (a - b))).mean()
    elif kind == "difference":
        easy = 10 * draw(rng, (TRIALS, 1, UNITS))  # what both arms share
        table, truth = (easy + table) - (easy + 0.5 * other), 0.0
        points = table.mean(-1)
    else:
        points, truth = table.mean(-1), 0.0
    off = np.abs(points.mean(-1) - truth)
    assert (off <= intervals.half_width(points, table)).mean() >= 0.93


def test_a_positive_quantity_has_the_interval_of_its_logarithms():
    values = {0: 0.0002, 1: 0.001, 2: 0.0004}
    found = estimate_positive_over_seeds(values, n=300, over="sessions")
    logs = np.log(list(values.values()))
    low, high = stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs))
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert found.mean == pytest.approx(np.mean(list(values.values())))
    assert estimate_over_seeds(values).low < 0 < found.low  # which the plain interval holds
    assert estimate_positive_over_seeds({0: 2.0}).interval is None
    with pytest.raises(ParameterError, match="positive"):
        estimate_positive_over_seeds({0: 1.0, 1: 0.0})
