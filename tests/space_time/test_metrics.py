from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.metrics.pairwise import haversine_distances

from okml.space_time.metrics import (
    EARTH_RADIUS_KM,
    great_circle_km,
    group_codes,
    group_or_alone,
    mean_r2,
    mean_spearman,
    proximity_errors,
    r2,
    score,
    spearman,
    unit_vectors,
    within_group_spearman,
)

PARIS, LONDON = np.array([[2.3522, 48.8566]]), np.array([[-0.1276, 51.5072]])
RNG = np.random.default_rng(0)


def places(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.uniform(-180, 180, n), rng.uniform(-90, 90, n)])


def pairwise_km(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """scikit-learn wants (latitude, longitude) in radians."""
    return haversine_distances(np.deg2rad(y[:, ::-1]), np.deg2rad(p[:, ::-1])) * EARTH_RADIUS_KM


def proximity_by_hand(y: np.ndarray, p: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """The definition, entity by entity; ``distance[i, j]`` is that of y_i from p_j."""
    errors = []
    for own, of_all in zip(np.diag(distance), distance, strict=True):
        equal = np.isclose(of_all, own, rtol=1e-9, atol=0)
        errors.append(((of_all < own) & ~equal).sum() + (equal.sum() - 1) / 2)
    return np.array(errors) / len(p)


def test_paris_to_london() -> None:
    assert great_circle_km(PARIS, LONDON)[0] == pytest.approx(344, abs=1)


def test_antipodes_and_the_date_line() -> None:
    here = np.array([[30.0, 40.0], [0.0, 90.0], [179.0, 0.0]])
    there = np.array([[-150.0, -40.0], [77.0, -90.0], [-179.0, 0.0]])
    half = np.pi * EARTH_RADIUS_KM
    np.testing.assert_allclose(
        great_circle_km(here, there), [half, half, half * 2 / 180], rtol=1e-6
    )


@given(seed=st.integers(0, 10_000))
def test_distances_equal_scikit_learns(seed: int) -> None:
    y, p = places(20, seed), places(20, seed + 1)
    p[:5, 1] += 60  # a regression may predict beyond the pole
    np.testing.assert_allclose(great_circle_km(y, p), np.diag(pairwise_km(y, p)), rtol=1e-7)


def test_unit_vectors_have_length_one() -> None:
    assert unit_vectors(np.array([[0.0, 0.0], [90.0, 0.0], [12.0, 90.0]])) == pytest.approx(
        np.eye(3), abs=1e-12
    )
    y = places(50)
    np.testing.assert_allclose(np.linalg.norm(unit_vectors(y), axis=1), 1)


def test_proximity_by_hand_for_times() -> None:
    y = np.array([[1900.0], [1950.0], [2000.0]])
    p = np.array([[1940.0], [1952.0], [1930.0]])
    # 1900: own 40 off, 1930 is closer. 1950: own 2 off, none is. 2000: own 70 off, both are.
    np.testing.assert_allclose(proximity_errors(y, p, "time"), [1 / 3, 0, 2 / 3])
    assert proximity_errors(y, p, "time").mean() == pytest.approx(1 / 3)


def test_a_score_compares_predictions_with_the_truth_and_not_the_other_way_round() -> None:
    y = np.array([[0.0], [10.0], [20.0]])
    p = np.array([[5.0], [5.5], [6.0]])
    # Only 10 has a closer prediction than its own, 6. Of the predictions, 6 alone has closer
    # truths than its own, both others: the wrong way round gives 2/9.
    assert score(y, p, "time")["proximity"] == pytest.approx(1 / 9)


def test_proximity_by_hand_across_the_date_line() -> None:
    y = np.array([[179.0, 0.0], [0.0, 0.0]])
    p = np.array([[100.0, 0.0], [-179.0, 0.0]])
    # Fiji's neighbor is predicted 2° away across the line, closer than Fiji's own 79°.
    np.testing.assert_allclose(proximity_errors(y, p, "space"), [0.5, 0.5])
    flat = np.abs(y[0, 0] - p[:, 0])
    assert flat[0] < flat[1]  # on a flat map it would have been 0


def test_equal_predictions_are_half_closer() -> None:
    centers = places(4)
    group = np.arange(200) % 4  # 50 names have the prediction of each center
    y, p = places(200, 1), centers[group]
    distance = pairwise_km(y, centers)
    own = distance[np.arange(200), group]
    closer = 50 * (distance < own[:, None] * (1 - 1e-9)).sum(axis=1)
    np.testing.assert_allclose(proximity_errors(y, p, "space"), (closer + 49 / 2) / 200)


@pytest.mark.parametrize("kind", ["space", "time"])
def test_the_same_prediction_for_all_is_chance(kind: str) -> None:
    y = places(30) if kind == "space" else places(30)[:, :1]
    constant = np.tile(y.mean(axis=0), (30, 1))
    np.testing.assert_allclose(proximity_errors(y, constant, kind), 29 / 60)
    np.testing.assert_allclose(proximity_errors(y[:2], y[[0, 0]], kind), [1 / 4, 1 / 4])


def test_half_of_the_names_without_a_word_gain_nothing_by_it() -> None:
    """Features that say the same of many names must not look better than noise."""
    y, noise = places(1500), places(1500, 9)
    silent = noise.copy()
    silent[::2] = y.mean(axis=0)
    gap = proximity_errors(y, silent, "space").mean() - 0.5
    assert abs(gap) < 0.03  # over ten seeds -0.002 with a standard deviation of 0.005


def test_perfect_and_random_predictions() -> None:
    y = places(1500)
    assert proximity_errors(y, y, "space").mean() == 0
    assert proximity_errors(y, places(1500, 9), "space").mean() == pytest.approx(0.5, abs=0.02)
    years = y[:, :1]
    guessed = proximity_errors(years, places(1500, 9)[:, :1], "time")
    assert guessed.mean() == pytest.approx(0.5, abs=0.02)


@given(n=st.integers(2, 40), seed=st.integers(0, 10_000), kind=st.sampled_from(["space", "time"]))
def test_proximity_equals_its_definition(n: int, seed: int, kind: str) -> None:
    y, p = places(n, seed), places(n, seed + 1)
    if kind == "time":
        y, p = y[:, :1], p[:, :1]
    distance = pairwise_km(y, p) if kind == "space" else np.abs(y - p.T)
    np.testing.assert_allclose(proximity_errors(y, p, kind), proximity_by_hand(y, p, distance))


def test_r2_by_hand() -> None:
    y = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 60.0]])
    p = np.array([[1.0, 30.0], [2.0, 30.0], [1.0, 30.0]])
    np.testing.assert_allclose(r2(y, p), [1 - 4 / 2, 0])
    assert mean_r2(y, p) == pytest.approx(-0.5)
    assert np.isnan(r2(y[:1], p[:1])).all()


def test_spearman_with_ties_is_pearson_of_mean_ranks() -> None:
    y, p = RNG.integers(0, 5, (40, 2)).astype(float), RNG.integers(0, 5, (40, 2)).astype(float)
    expected = [
        np.corrcoef(rankdata(a, "average"), rankdata(b, "average"))[0, 1]
        for a, b in zip(y.T, p.T, strict=True)
    ]
    np.testing.assert_allclose(spearman(y, p), expected)
    assert mean_spearman(y, p) == pytest.approx(np.mean(expected))
    assert mean_spearman(y, np.exp(y)) == pytest.approx(1)
    assert np.isnan(spearman(y, np.zeros_like(y))).all()


def test_scores_gather_the_metrics() -> None:
    y, p = places(60), places(60) + RNG.normal(size=(60, 2))
    found = score(y, p, "space")
    km = np.diag(pairwise_km(y, p))
    assert found["median_km"] == pytest.approx(np.median(km))
    assert found["r2"] == mean_r2(y, p)
    assert found["spearman"] == mean_spearman(y, p)
    assert found["proximity"] == proximity_errors(y, p, "space").mean()
    years = score(y[:, :1], p[:, :1], "time")
    assert np.isnan(years["median_km"])
    assert years["r2"] == r2(y[:, :1], p[:, :1])[0]


def test_group_codes_skip_missing_labels() -> None:
    codes, labels = group_codes(np.array(["b", None, "a", "b", float("nan")], dtype=object))
    assert labels == ["a", "b"]
    np.testing.assert_array_equal(codes, [1, -1, 0, 1, -1])
    codes, labels = group_codes([1900, 1800, 1900])
    assert labels == [1800, 1900]
    np.testing.assert_array_equal(codes, [1, 0, 1])


def test_country_labels_alone_score_nothing_within_countries() -> None:
    group = np.repeat(["a", "b", "c"], 30)
    centers = {"a": 0.0, "b": 100.0, "c": 300.0}
    inside = RNG.normal(size=(90, 1))
    y = np.array([[centers[g]] for g in group]) + inside
    labels_only = np.array([[centers[g]] for g in group])
    assert mean_r2(y, labels_only) > 0.999
    assert within_group_spearman(y, labels_only, group) == 0
    assert within_group_spearman(y, labels_only * 2 + inside / 2, group) == pytest.approx(1)


def test_within_groups_by_size_and_without_small_or_missing_ones() -> None:
    y = np.concatenate([np.arange(30.0), np.arange(20.0), np.arange(5.0), [7.0]])[:, None]
    p = np.concatenate([np.arange(30.0), -np.arange(20.0), -np.arange(5.0), [0.0]])[:, None]
    group = np.array(["up"] * 30 + ["down"] * 20 + ["small"] * 5 + [None], dtype=object)
    assert within_group_spearman(y, p, group) == pytest.approx((30 - 20) / 50)
    assert np.isnan(within_group_spearman(y, p, group, min_size=31))
    alone = np.array([None] * 56, dtype=object)
    assert np.isnan(within_group_spearman(y, p, alone))


def test_unlabeled_entities_are_groups_of_their_own() -> None:
    groups = np.array(["b", None, "a", "b", None], dtype=object)
    found = group_or_alone(groups)
    assert found[0] == found[3]
    assert len(set(found)) == 4
