from __future__ import annotations

import numpy as np
import pytest
import torch

from okml.errors import ParameterError, TrainingError
from okml.space_time.metrics import mean_r2
from okml.space_time.probes import SPLIT_SEED, FittedMLP, LinearProbe, MLPProbe, PCAProbe, Probe
from okml.space_time.ridge import fit_ridge, pca_curve, preprocess

QUICK = {"weight_decays": (0.1,), "epochs": 30, "batch": 64, "learning_rate": 3e-3}


def linear_world(n: int = 600, d: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(np.float32)
    Y = preprocess(X).numpy() @ rng.normal(size=(d, 2)) + 0.5 * rng.normal(size=(n, 2))
    return X, Y * 30 + 10


def bent_world(n: int = 900, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Targets that no linear probe reads: a product and a square."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 8)).astype(np.float32)
    rows = preprocess(X).numpy()
    return X, np.column_stack([rows[:, 0] * rows[:, 1], rows[:, 2] ** 2]) * 40


def held_out_r2(probe: Probe, X: np.ndarray, Y: np.ndarray) -> float:
    cut = len(X) * 3 // 4
    return mean_r2(Y[cut:], probe.fit(X[:cut], Y[:cut]).predict(X[cut:]))


def fitted(probe: MLPProbe) -> FittedMLP:
    assert probe.result is not None
    return probe.result


@pytest.mark.parametrize("how", ["rms", "raw"])
def test_the_linear_probe_is_ridge_on_preprocessed_rows(how: str) -> None:
    X, Y = linear_world()
    probe = LinearProbe(how).fit(X[:400], Y[:400])
    fit = fit_ridge(preprocess(X[:400], how), Y[:400])
    np.testing.assert_allclose(probe.predict(X[400:]), fit.predict(preprocess(X[400:], how)))
    assert probe.result is not None
    assert probe.result.lam == fit.lam


def test_the_pca_probe_is_one_point_of_the_curve() -> None:
    X, Y = linear_world()
    probe = PCAProbe(5).fit(X, Y)
    curve = pca_curve(preprocess(X), Y, [5])[5]
    np.testing.assert_allclose(probe.predict(X), curve.predict(preprocess(X)))
    assert held_out_r2(PCAProbe(2), X, Y) < held_out_r2(PCAProbe(24), X, Y)


@pytest.mark.parametrize("probe", [LinearProbe(), PCAProbe(3), MLPProbe()])
def test_a_probe_that_was_not_fitted_says_so(probe: Probe) -> None:
    with pytest.raises(ParameterError, match="not been fitted"):
        probe.predict(np.ones((2, 5)))


def test_the_mlp_reads_what_is_not_linear() -> None:
    X, Y = bent_world()
    assert held_out_r2(LinearProbe(), X, Y) < 0.1
    assert held_out_r2(MLPProbe(**QUICK), X, Y) > 0.6


def test_the_mlp_comes_near_ridge_where_all_is_linear() -> None:
    X, Y = linear_world()
    mlp, ridge = held_out_r2(MLPProbe(**QUICK), X, Y), held_out_r2(LinearProbe(), X, Y)
    assert ridge - 0.1 < mlp < ridge + 0.02


def test_the_mlp_has_the_papers_shape() -> None:
    X, Y = linear_world(100)
    probe = MLPProbe(weight_decays=(0.1,), epochs=1).fit(X, Y)
    sizes = [tuple(weight.shape) for weight in fitted(probe).network.parameters()]
    assert sizes == [(256, 24), (256,), (2, 256), (2,)]


def test_a_seed_decides_the_mlp_and_leaves_the_global_state_alone() -> None:
    X, Y = linear_world(200)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one = MLPProbe(**QUICK, seed=3).fit(X, Y).predict(X)
    assert torch.rand(1) == expected
    torch.manual_seed(8)
    np.testing.assert_array_equal(MLPProbe(**QUICK, seed=3).fit(X, Y).predict(X), one)
    assert not np.array_equal(MLPProbe(**QUICK, seed=4).fit(X, Y).predict(X), one)


def test_the_best_weights_are_restored_and_parity_keeps_the_last() -> None:
    X, Y = linear_world(200)
    Y = Y + 60 * np.random.default_rng(1).normal(size=Y.shape)  # over-fits at once
    order = np.random.default_rng(SPLIT_SEED).permutation(200)
    validation, kept = order[:20], order[20:]
    spread = Y[kept].std(0)

    def error(probe: MLPProbe) -> float:
        residual = (Y[validation] - probe.predict(X[validation])) / spread
        return float(np.square(residual).mean())

    settings = {**QUICK, "learning_rate": 1e-2, "patience": 8}
    ours = MLPProbe(**settings).fit(X, Y)
    parity = MLPProbe(**settings, parity=True).fit(X, Y)
    assert error(ours) == pytest.approx(fitted(ours).validation_mse, rel=1e-4)
    # It stops some epochs after the best one, so the last one is worse.
    assert error(parity) > fitted(parity).validation_mse


def test_training_stops_when_patience_ends() -> None:
    X, Y = linear_world(120)
    Y = Y + 60 * np.random.default_rng(1).normal(size=Y.shape)
    settings = {**QUICK, "learning_rate": 1e-2, "parity": True}
    endless = [
        MLPProbe(**{**settings, "epochs": epochs, "patience": 99}).fit(X, Y)
        for epochs in range(1, 13)
    ]
    lowest = [fitted(probe).validation_mse for probe in endless]
    stop = next(e for e in range(2, 12) if lowest[e] == lowest[e - 2])  # two epochs in vain
    patient = MLPProbe(**{**settings, "patience": 2}).fit(X, Y)
    np.testing.assert_array_equal(patient.predict(X), endless[stop].predict(X))


def test_the_weight_decay_with_the_smallest_validation_error_wins() -> None:
    X, Y = linear_world(300)
    settings = {**QUICK, "learning_rate": 1e-2}
    decays = (0.01, 30.0)
    alone = {
        decay: fitted(MLPProbe(**{**settings, "weight_decays": (decay,)}).fit(X, Y)).validation_mse
        for decay in decays
    }
    probe = fitted(MLPProbe(**{**settings, "weight_decays": decays}).fit(X, Y))
    assert probe.weight_decay == min(alone, key=alone.__getitem__)
    assert probe.validation_mse == min(alone.values())


def test_columns_of_any_scale_are_the_same_to_the_mlp() -> None:
    X, Y = linear_world(300)
    probe = MLPProbe(**QUICK, how="raw").fit(X, Y)
    scaled = X * np.array([2.0**10] * 12 + [1.0] * 12, dtype=np.float32)
    again = MLPProbe(**QUICK, how="raw").fit(scaled, Y)
    np.testing.assert_allclose(again.predict(scaled), probe.predict(X), rtol=1e-4, atol=1e-3)


def test_divergence_is_an_error() -> None:
    X, Y = linear_world(200)
    with pytest.raises(TrainingError, match="Training diverged at step"):
        MLPProbe(**{**QUICK, "learning_rate": 1e30}, parity=True).fit(X, Y)


def test_the_scaler_sees_no_validation_row() -> None:
    X, Y = linear_world(100)
    order = np.random.default_rng(SPLIT_SEED).permutation(100)
    spoiled = Y.copy()
    spoiled[order[:10]] += 1e6
    settings = {**QUICK, "epochs": 1}
    one, other = (fitted(MLPProbe(**settings).fit(X, targets)).network for targets in (Y, spoiled))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b)
