"""Intervals over test entities: what is scored, and what is left out."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from okml.space_time.entities import EntitySet
from okml.space_time.judging import Fixed, HeldOut, from_frame, less, to_frame, whole

N = 300


def places(split_group: str | None = None) -> EntitySet:
    """Return 300 places; half of them are tested, and every three were named by one person."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "entity": [f"place {number}" for number in range(N)],
            "is_test": np.arange(N) // 3 % 2 == 0,
            "longitude": rng.uniform(-90, 90, N),
            "latitude": rng.uniform(-60, 60, N),
            "named_by": np.arange(N) // 3,
        }
    )
    columns = ("longitude", "latitude")
    return EntitySet(
        "world_place", "space", frame, columns, None, None, split_group, "made by hand"
    )


def noisy(found: EntitySet, noise: float, seed: int, share: float = 0.8) -> np.ndarray:
    """Return predictions with noise for a random share of the test rows."""
    rng = np.random.default_rng(seed)
    test = np.flatnonzero(found.test_mask())
    rows = np.sort(rng.choice(test, round(share * len(test)), replace=False))
    return whole(N, rows, found.y()[rows] + noise * rng.normal(size=(len(rows), 2)))


def test_a_seed_is_scored_on_the_rows_it_drew() -> None:
    found = places()
    arm = {seed: noisy(found, 20, seed) for seed in (0, 1, 2)}
    held_out = HeldOut(found)
    estimate = held_out.estimate(held_out.r2, arm)
    for seed, p in arm.items():
        rows = ~np.isnan(p[:, 0])
        expected = r2_score(found.y()[rows], p[rows])
        assert estimate.values[str(seed)] == pytest.approx(expected)
    assert estimate.n == found.test_mask().sum()
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low < estimate.mean < estimate.high


def test_what_the_split_keeps_together_is_sampled_together() -> None:
    found = places("named_by")
    arm = {0: noisy(found, 20, 0, share=1)}
    together = HeldOut(found).estimate(HeldOut(found).r2, arm)
    assert (together.n, together.over) == (N // 6, "groups of entities")
    two = HeldOut(found, np.arange(N) % 2, over="halves").estimate(HeldOut(found).r2, arm)
    assert (two.n, two.over) == (2, "halves")
    alone = HeldOut(places()).estimate(HeldOut(found).r2, arm)
    assert (alone.n, alone.over) == (N // 2, "entities")


def test_arms_are_compared_on_the_same_rows() -> None:
    found, held_out = places(), HeldOut(places())
    arm = {0: noisy(found, 20, 0)}
    same = held_out.estimate(less(held_out.r2), arm, arm)
    assert (same.mean, same.low, same.high) == (0, 0, 0)
    worse = {0: arm[0] + np.random.default_rng(9).normal(size=arm[0].shape)}
    paired = held_out.estimate(less(held_out.r2), arm, worse)
    alone = held_out.estimate(held_out.r2, arm)
    assert paired.interval is not None
    assert alone.interval is not None
    assert np.diff(paired.interval) < np.diff(alone.interval) / 3


def test_an_arm_that_no_seed_changes_stands_beside_every_seed() -> None:
    found, held_out = places(), HeldOut(places())
    fixed, drawn = noisy(found, 20, 0, share=1), {s: noisy(found, 30, s, share=1) for s in (1, 2)}
    once = held_out.estimate(less(held_out.r2), Fixed({0: fixed}), drawn)
    repeated = held_out.estimate(less(held_out.r2), dict.fromkeys(drawn, fixed), drawn)
    assert once == repeated
    assert [*once.values] == ["1", "2"]
    with pytest.raises(KeyError):  # one of a seed is no arm of the others
        held_out.estimate(less(held_out.r2), {0: fixed}, drawn)


def test_what_no_seed_changes_has_no_seed() -> None:
    found, held_out = places(), HeldOut(places())
    better, worse = (noisy(found, noise, 0, share=1) for noise in (20, 30))
    fixed = held_out.estimate(less(held_out.r2), Fixed({0: better}), Fixed({3: worse}))
    of_seed = held_out.estimate(less(held_out.r2), {0: better}, {0: worse})
    assert (fixed.seeds, of_seed.seeds) == (0, 1)
    assert (fixed.mean, fixed.interval) == (of_seed.mean, of_seed.interval)


def test_a_part_of_the_names_is_scored_alone() -> None:
    found = places()
    held_out, p = HeldOut(found), noisy(found, 20, 0)
    part = np.arange(N) % 4 == 0
    rows = part & ~np.isnan(p[:, 0])
    estimate = held_out.estimate(held_out.among(part), {0: p})
    assert estimate.mean == pytest.approx(r2_score(found.y()[rows], p[rows]))


def test_the_mean_of_an_arm_is_that_of_its_seeds() -> None:
    found, held_out = places(), HeldOut(places())
    arm = {seed: noisy(found, 20, seed) for seed in (0, 1, 2)}
    mean = held_out.mean(held_out.r2, arm)
    assert mean == pytest.approx(np.mean([*held_out.by_seed(held_out.r2, arm).values()]))
    assert mean == pytest.approx(held_out.estimate(held_out.r2, arm).mean)


def test_the_order_inside_regions_is_that_of_scipy() -> None:
    found = places()
    tested = np.flatnonzero(found.test_mask())
    regions: list[str | None] = [None] * N
    sizes = {"large": 90, "small": 30, "tiny": 4}
    start = 0
    for region, size in sizes.items():
        for row in tested[start : start + size]:
            regions[row] = region
        start += size
    p = noisy(found, 60, 3, share=1)
    values = []
    for region in ("large", "small"):
        rows = [row for row in range(N) if regions[row] == region]
        of_region = [stats.spearmanr(found.y()[rows, t], p[rows, t]).statistic for t in (0, 1)]
        values.append(np.mean(of_region))
    held_out = HeldOut(found)
    estimate = held_out.estimate(held_out.order_within(regions), {0: p})
    assert estimate.mean == pytest.approx(np.average(values, weights=[90, 30]))
    # One that knows only the region orders nothing inside of it.
    centers = {region: number for number, region in enumerate(sizes)}
    flat = np.array([[centers.get(region or "", 9)] * 2 for region in regions], float)
    assert held_out.estimate(held_out.order_within(regions), {0: flat}).mean == 0


def test_predictions_survive_a_frame() -> None:
    found = places()
    arm = {seed: noisy(found, 20, seed) for seed in (4, 2)}
    frame = to_frame(arm)
    assert len(frame) == 2 * round(0.8 * found.test_mask().sum())
    again = from_frame(frame, (N, 2))
    assert list(again) == [4, 2]
    for seed, p in arm.items():
        np.testing.assert_array_equal(again[seed], p)
