"""The bootstrap over users: against rows copied one by one, and against the analytic error."""

from __future__ import annotations

import numpy as np
import pytest

from okml.errors import ParameterError
from okml.seqrec import bootstrap
from okml.seqrec.bootstrap import mean_intervals, paired_differences, resampled_means


def test_counts_give_the_means_of_copied_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    users = rng.integers(10, 16, 40)
    values = rng.random((40, 2))
    unique = np.unique(users)
    draws = np.random.default_rng(5)
    expected = []
    for _ in range(7):
        drawn = unique[draws.integers(len(unique), size=len(unique))]
        rows = np.concatenate([np.flatnonzero(users == user) for user in drawn])
        expected.append(values[rows].mean(axis=0))
    np.testing.assert_allclose(resampled_means(values, users, 7, seed=5), expected)
    monkeypatch.setattr(bootstrap, "BLOCK", 2 * len(unique))  # two resamples at a time
    np.testing.assert_allclose(resampled_means(values, users, 7, seed=5), expected)


def test_one_row_a_user_has_the_standard_error_of_a_mean() -> None:
    values = np.random.default_rng(0).random(2_000)
    found = mean_intervals({"x": values}, np.arange(2_000), resamples=4_000)["x"]
    analytic = values.std() / np.sqrt(2_000)
    assert found.mean == values.mean()
    assert found.standard_error == pytest.approx(analytic, rel=0.05)
    assert found.high - found.low == pytest.approx(2 * 1.96 * analytic, rel=0.06)


def test_clusters_have_the_error_of_a_ratio_of_sums() -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 20, 500)
    users = np.repeat(np.arange(500), sizes)
    values = np.repeat(rng.random(500), sizes) + 0.1 * rng.random(len(users))
    found = mean_intervals({"x": values}, users, resamples=4_000)["x"]
    # The delta method for Σ sums / Σ sizes over independent users.
    residual = np.bincount(users, weights=values - values.mean())
    analytic = np.sqrt((residual**2).sum()) / sizes.sum()
    assert found.standard_error == pytest.approx(analytic, rel=0.06)
    # Rows of one user agree, so to take them for independent would be far too sure.
    assert found.standard_error > 2 * values.std() / np.sqrt(len(values))


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(200):
        users = np.repeat(np.arange(60), 3)
        values = np.repeat(rng.normal(size=60), 3) + rng.normal(size=180)
        found = mean_intervals({"x": values}, users, resamples=300, seed=seed, level=0.9)["x"]
        covered += found.low <= 0 <= found.high
    assert 165 <= covered <= 193  # 180 expected, standard deviation 4.2, a little short by theory


def test_what_models_share_cancels_in_differences() -> None:
    rng = np.random.default_rng(3)
    users = np.repeat(np.arange(100), 4)
    hardness = np.repeat(rng.normal(size=100), 4)
    base = hardness + 0.01 * rng.normal(size=400)
    models = {"base": base, "better": base + 0.02 + 0.01 * rng.normal(size=400)}
    found = paired_differences(models, users, "base")
    assert list(found) == ["better"]
    assert 0 < found["better"].low < 0.02 < found["better"].high < 0.03
    alone = mean_intervals(models, users)
    assert found["better"].standard_error < alone["better"].standard_error / 20
    # The difference of the two models' own resampled means, draw by draw.
    means = resampled_means(np.stack([base, models["better"]], axis=1), users, 1_000, 0)
    gaps = means[:, 1] - means[:, 0]
    np.testing.assert_allclose(found["better"][1:3], np.quantile(gaps, [0.025, 0.975]))


def test_what_cannot_be_resampled_is_refused() -> None:
    with pytest.raises(ParameterError, match="cannot be resampled"):
        resampled_means(np.ones((3, 1)), np.zeros(3, dtype=np.int64))
    with pytest.raises(ParameterError, match="cannot be resampled"):
        resampled_means(np.ones((3, 1)), np.arange(2))
    with pytest.raises(ParameterError, match="No model is called 'y'"):
        paired_differences({"x": np.ones(3)}, np.arange(3), "y")
