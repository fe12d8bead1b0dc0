from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.preprocessing import StandardScaler

from okml.errors import ParameterError
from okml.space_time.layers import Draw, fit_layer
from okml.space_time.moments import BlockMoments
from okml.space_time.ridge import (
    LambdaGrid,
    RidgeSystem,
    fit_ridge,
    preprocess,
)

LAMBDAS = np.logspace(-2, 4, 13)
Data = tuple[np.ndarray, np.ndarray]


def planted(n: int, d: int, t: int, seed: int = 0, noise: float = 1.0) -> Data:
    """Correlated features far from zero, and targets of different units that depend on them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / np.sqrt(d) + 3 * rng.normal(size=d)
    Y = X @ rng.normal(size=(d, t)) / np.sqrt(d) + noise * rng.normal(size=(n, t))
    return X, Y * np.array([30.0, 5.0, 0.1])[:t] + np.array([15.0, -40.0, 1950.0])[:t]


@pytest.mark.parametrize("t", [1, 2])
@pytest.mark.parametrize(
    ("n", "d", "route"),
    [
        (90, 12, "auto"),
        (90, 12, "eigh"),
        (90, 12, "cholesky"),
        (90, 12, "dual"),
        (30, 50, "auto"),
        (30, 50, "dual"),
        (30, 50, "cholesky"),
        (30, 50, "eigh"),
        (30, 30, "auto"),
    ],
)
def test_equals_scikit_learn(n: int, d: int, t: int, route: str) -> None:
    X, Y = planted(n, d, t)
    scaler = StandardScaler().fit(Y)
    peer = RidgeCV(alphas=LAMBDAS, store_cv_results=True).fit(X, scaler.transform(Y))
    fit = fit_ridge(X, Y, LAMBDAS, route=route)
    assert fit.lam == pytest.approx(peer.alpha_)
    peer_loo = peer.cv_results_.reshape(n, t, -1).mean((0, 1))
    np.testing.assert_allclose(fit.loo_mse, peer_loo, rtol=1e-8)
    peer_coef = peer.coef_.reshape(t, d).T * scaler.scale_
    np.testing.assert_allclose(fit.coef, peer_coef, rtol=1e-8, atol=1e-8 * abs(peer_coef).max())
    predicted = scaler.inverse_transform(peer.predict(X).reshape(n, t))
    np.testing.assert_allclose(fit.predict(X), predicted, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("d", [10, 60])
def test_leave_one_out_equals_refitting_without_each_row(d: int) -> None:
    X, Y = planted(40, d, 2)
    fit = fit_ridge(X, Y, LAMBDAS)
    Z = (Y - Y.mean(0)) / Y.std(0)
    for lam, error in zip(LAMBDAS, fit.loo_mse, strict=True):
        left_out = []
        for row in range(40):
            kept = np.arange(40) != row
            refit = Ridge(alpha=lam, solver="cholesky").fit(X[kept], Z[kept])
            left_out.append(Z[row] - refit.predict(X[[row]])[0])
        assert float(error) == pytest.approx(np.square(left_out).mean(), rel=1e-7)


def test_without_penalty_it_is_least_squares() -> None:
    X, Y = planted(60, 5, 2)
    fit = fit_ridge(X, Y, [1e-9])
    solution, *_ = np.linalg.lstsq(np.column_stack([np.ones(60), X]), Y, rcond=None)
    np.testing.assert_allclose(fit.intercept, solution[0], rtol=1e-6)
    np.testing.assert_allclose(fit.coef, solution[1:], rtol=1e-6)


def test_a_huge_penalty_predicts_the_mean() -> None:
    X, Y = planted(60, 5, 2)
    predicted = fit_ridge(X, Y, [1e15]).predict(X + 7)
    np.testing.assert_allclose(predicted, np.tile(Y.mean(0), (60, 1)), rtol=1e-6)


def test_targets_share_a_decomposition_without_influencing_each_other() -> None:
    X, Y = planted(80, 12, 2)
    system = RidgeSystem.of(X)
    for targets in (Y, Y[::-1], Y[:, :1]):
        alone = fit_ridge(X, targets.copy())
        torch.testing.assert_close(system.fit(targets.copy()).coef, alone.coef)


def test_the_grid_follows_the_scale_of_the_features() -> None:
    X, Y = planted(80, 12, 2)
    small, large = fit_ridge(X, Y), fit_ridge(1000 * X, Y)
    assert large.lam == pytest.approx(1e6 * small.lam)
    np.testing.assert_allclose(large.predict(1000 * X), small.predict(X), rtol=1e-8)
    grid = LambdaGrid().values(1.0)
    assert len(grid) == 22
    assert grid[0] == pytest.approx(1e-6)
    assert grid[-1] == pytest.approx(1e2)
    centered = X - X.mean(0)
    assert RidgeSystem.of(X).scale == pytest.approx(np.trace(centered.T @ centered) / 12)


def test_an_edge_of_the_grid_is_told_from_its_inside() -> None:
    X, Y = planted(200, 12, 1, noise=0.5)
    assert fit_ridge(X, Y).interior
    too_low, too_high = [1e-9, 1e-8, 1e-7], [1e8, 1e9, 1e10]
    assert not fit_ridge(X, Y, too_low).interior
    assert not fit_ridge(X, Y, too_high).interior
    with_mean = np.column_stack([np.ones(200), X])
    noise = np.random.default_rng(1).normal(size=(200, 1))
    unrelated = noise - with_mean @ np.linalg.lstsq(with_mean, noise)[0]
    fit = fit_ridge(X, unrelated)
    assert fit.lam == float(fit.lambdas[-1])
    assert not fit.interior


@given(n=st.integers(5, 40), d=st.integers(2, 40), t=st.integers(1, 3), seed=st.integers(0, 10_000))
def test_routes_agree_and_rotation_changes_nothing(n: int, d: int, t: int, seed: int) -> None:
    X, Y = planted(n, d, t, seed)
    fits = [fit_ridge(X, Y, [0.1, 1.0, 10.0], route) for route in ("eigh", "dual", "cholesky")]
    rotation = ortho_group(d, seed=seed).rvs()
    rotated = fit_ridge(X @ rotation, Y, [0.1, 1.0, 10.0])
    expected = fits[0].predict(X)
    for fit in fits[1:]:
        torch.testing.assert_close(fit.predict(X), expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(fit.loo_mse, fits[0].loo_mse, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(rotated.predict(X @ rotation), expected, rtol=1e-6, atol=1e-6)


def test_constant_features_predict_the_mean() -> None:
    _, Y = planted(50, 4, 2)
    X = np.full((50, 4), 0.1, dtype=np.float32)
    fit = fit_ridge(X, Y)
    np.testing.assert_allclose(fit.predict(X), np.tile(Y.mean(0), (50, 1)), rtol=1e-9)
    assert fit.best_loo_mse == pytest.approx((50 / 49) ** 2)
    last_bit = np.random.default_rng(0).integers(0, 2, (50, 4)) * np.finfo(np.float64).eps
    rounded = 0.1 * (1 + last_bit)
    predicted = fit_ridge(rounded, Y).predict(rounded)
    np.testing.assert_allclose(predicted, np.tile(Y.mean(0), (50, 1)), rtol=1e-9)


@pytest.mark.parametrize(
    ("X", "Y", "lambdas"),
    [
        (np.full((5, 2), np.nan), np.ones((5, 1)), None),
        (np.ones(5), np.ones((5, 1)), None),
        (np.eye(5), np.arange(4.0)[:, None], None),
        (np.eye(5), np.arange(5.0), None),
        (np.eye(5), np.ones((5, 1)), None),
        (np.eye(5), np.array([[1.0], [2], [3], [4], [np.inf]]), None),
        (np.eye(5), np.arange(5.0)[:, None], [0.0]),
        (np.eye(5), np.arange(5.0)[:, None], []),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    X: np.ndarray, Y: np.ndarray, lambdas: list[float] | None
) -> None:
    with pytest.raises(ParameterError):
        fit_ridge(X, Y, lambdas)


def test_row_rms() -> None:
    X = np.array([[3.0, 4.0], [300.0, -400.0], [0.0, 0.0]], dtype=np.float16)
    root = np.sqrt(12.5)
    expected = np.array([[3 / root, 4 / root], [3 / root, -4 / root], [0, 0]])
    np.testing.assert_allclose(preprocess(X), expected, rtol=1e-6)
    np.testing.assert_array_equal(preprocess(X, "raw"), X.astype(np.float64))


def test_one_massive_row_spoils_the_raw_probe_alone() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 30))
    Y = X @ rng.normal(size=(30, 1)) + rng.normal(size=(400, 1))
    massive = X.copy()
    massive[0, 7] = 12_700.0

    def test_r2(features: np.ndarray, how: str) -> float:
        rows = preprocess(features, how)
        p = fit_ridge(rows[:300], Y[:300]).predict(rows[300:]).numpy()
        return 1 - np.square(Y[300:] - p).sum() / np.square(Y[300:] - Y[300:].mean()).sum()

    assert test_r2(massive, "rms") == pytest.approx(test_r2(X, "rms"), abs=0.01)
    assert test_r2(massive, "raw") < test_r2(X, "raw") - 0.02


def test_principal_components_equal_ridge_on_scikit_learns_scores() -> None:
    X, Y = planted(120, 20, 2)
    system = RidgeSystem.of(X, "eigh")
    fits = {k: system.principal(k).fit(Y) for k in (2, 7, 20)}
    for k, fit in fits.items():
        pca = PCA(k, svd_solver="full").fit(X)
        peer = fit_ridge(pca.transform(X), Y)
        torch.testing.assert_close(fit.predict(X), peer.predict(pca.transform(X)))
        assert fit.lam == pytest.approx(peer.lam)
        assert torch.linalg.matrix_rank(fit.coef) == min(2, k)
    torch.testing.assert_close(fits[20].coef, fit_ridge(X, Y).coef)
    with pytest.raises(ParameterError, match="21 principal components"):
        system.principal(21)


def test_principal_components_of_fewer_rows_than_features() -> None:
    X, Y = planted(25, 60, 1)
    pca = PCA(5, svd_solver="full").fit(X)
    fit = RidgeSystem.of(X, "eigh").principal(5).fit(Y)
    torch.testing.assert_close(
        fit.predict(X), fit_ridge(pca.transform(X), Y).predict(pca.transform(X))
    )


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), size=st.integers(1, 60), lam=st.floats(0.01, 100))
def test_subtracting_a_block_equals_refitting_without_it(seed: int, size: int, lam: float) -> None:
    X, Y = planted(80, 10, 2, seed)
    block = np.random.default_rng(seed).permutation(80) < size
    peer = Ridge(lam, solver="cholesky").fit(X[~block], Y[~block])
    features, targets = torch.from_numpy(X), torch.from_numpy(Y)
    part = BlockMoments.of(features[block], targets[block])
    coef, intercept = (BlockMoments.of(features, targets) - part).solve(lam)
    np.testing.assert_allclose(coef, peer.coef_.T, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(intercept, peer.intercept_, rtol=1e-7, atol=1e-7)


def test_moments_of_nothing_are_refused() -> None:
    whole = BlockMoments.of(*map(torch.from_numpy, planted(10, 3, 1)))
    with pytest.raises(ParameterError, match="at least two"):
        (whole - whole).solve(1.0)


def test_all_layers_from_a_memory_map_for_several_draws(tmp_path: Path) -> None:
    X, Y = planted(60, 8, 2)
    path = tmp_path / "activations.npy"
    array = np.lib.format.open_memmap(path, "w+", dtype=np.float16, shape=(3, 60, 8))
    array[:] = [X, X**2, 100 * X]
    array.flush()
    stored = np.load(path, mmap_mode="r")
    fifths = [np.arange(60) % 5 == left for left in (0, 3)]
    draws = [Draw(np.flatnonzero(~test), np.flatnonzero(test)) for test in fifths]
    found = [fit_layer(at - 1, states, Y, draws) for at, states in enumerate(stored)]
    assert [[one.layer for one in layer] for layer in found] == [[-1, -1], [0, 0], [1, 1]]
    for states, layer in zip(stored, found, strict=True):
        features = preprocess(states)
        for one, test in zip(layer, fifths, strict=True):
            alone = fit_ridge(features[~test], Y[~test])
            np.testing.assert_allclose(one.predicted, alone.predict(features[test]))
            assert one.fit.lam == alone.lam
