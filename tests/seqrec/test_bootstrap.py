"""The bootstrap over users: against rows copied one by one, and against the analytic error."""

from __future__ import annotations

import numpy as np
import pytest

from okml.errors import ParameterError
from okml.seqrec import bootstrap
from okml.seqrec.bootstrap import resampled_means


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


def test_resampled_means_have_the_error_of_a_ratio_of_sums() -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 20, 500)
    users = np.repeat(np.arange(500), sizes)
    values = np.repeat(rng.random(500), sizes) + 0.1 * rng.random(len(users))
    means = resampled_means(values[:, None], users, 4_000)
    # The delta method for Σ sums / Σ sizes over independent users.
    residual = np.bincount(users, weights=values - values.mean())
    assert means.std() == pytest.approx(np.sqrt((residual**2).sum()) / sizes.sum(), rel=0.06)


def test_what_cannot_be_resampled_is_refused() -> None:
    with pytest.raises(ParameterError, match="cannot be resampled"):
        resampled_means(np.ones((3, 1)), np.zeros(3, dtype=np.int64))
    with pytest.raises(ParameterError, match="cannot be resampled"):
        resampled_means(np.ones((3, 1)), np.arange(2))
