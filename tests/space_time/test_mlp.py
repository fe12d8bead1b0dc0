from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from okml.errors import TrainingError
from okml.space_time.config import ProbeSettings
from okml.space_time.metrics import mean_r2
from okml.space_time.mlp import SPLIT_SEED, FittedMLP, fit_mlp
from okml.space_time.ridge import fit_ridge, preprocess

QUICK: dict[str, Any] = {"weight_decays": (0.1,), "epochs": 30, "batch": 64, "learning_rate": 3e-3}


def fitted(X: torch.Tensor, Y: np.ndarray, seed: int = 0, **settings: Any) -> FittedMLP:
    named = {f"mlp_{name}": value for name, value in {**QUICK, **settings}.items()}
    return fit_mlp(X, Y, ProbeSettings(**named), seed)


def linear_world(n: int = 600, d: int = 24, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = preprocess(rng.normal(size=(n, d)).astype(np.float32))
    Y = X.numpy() @ rng.normal(size=(d, 2)) + 0.5 * rng.normal(size=(n, 2))
    return X, Y * 30 + 10


def bent_world(n: int = 900, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Targets that no linear probe reads: a product and a square."""
    X = preprocess(np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32))
    rows = X.numpy()
    return X, np.column_stack([rows[:, 0] * rows[:, 1], rows[:, 2] ** 2]) * 40


def held_out_r2(X: torch.Tensor, Y: np.ndarray) -> tuple[float, float]:
    """R² of the MLP and of ridge on the last quarter of the rows."""
    cut = len(X) * 3 // 4
    mlp = fitted(X[:cut], Y[:cut]).predict(X[cut:])
    ridge = fit_ridge(X[:cut], Y[:cut]).predict(X[cut:]).numpy()
    return mean_r2(Y[cut:], mlp), mean_r2(Y[cut:], ridge)


def overfitting_world() -> tuple[torch.Tensor, np.ndarray]:
    X, Y = linear_world(120)
    return X, Y + 60 * np.random.default_rng(1).normal(size=Y.shape)


def test_the_mlp_reads_what_is_not_linear() -> None:
    mlp, ridge = held_out_r2(*bent_world())
    assert ridge < 0.1
    assert mlp > 0.6


def test_the_mlp_comes_near_ridge_where_all_is_linear() -> None:
    mlp, ridge = held_out_r2(*linear_world())
    assert ridge - 0.1 < mlp < ridge + 0.02


def test_the_mlp_has_the_papers_shape() -> None:
    network = fitted(*linear_world(100), epochs=1).network
    sizes = [tuple(weight.shape) for weight in network.parameters()]
    assert sizes == [(256, 24), (256,), (2, 256), (2,)]


def test_a_seed_decides_the_mlp_and_leaves_the_global_state_alone() -> None:
    X, Y = linear_world(200)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one = fitted(X, Y, seed=3).predict(X)
    assert torch.rand(1) == expected
    torch.manual_seed(8)
    np.testing.assert_array_equal(fitted(X, Y, seed=3).predict(X), one)
    assert not np.array_equal(fitted(X, Y, seed=4).predict(X), one)


def test_the_best_weights_are_restored() -> None:
    X, Y = overfitting_world()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(X))
    validation, kept = order[:12], order[12:]
    found = fitted(X, Y, learning_rate=1e-2, patience=8)
    residual = (Y[validation] - found.predict(X[validation])) / Y[kept].std(0)
    assert np.square(residual).mean() == pytest.approx(found.validation_mse, rel=1e-4)


def test_training_stops_when_patience_ends() -> None:
    X, Y = overfitting_world()
    settings = {"learning_rate": 1e-2, "patience": 99}
    lowest = [fitted(X, Y, **settings, epochs=e).validation_mse for e in range(1, 31)]
    stop = next(e for e in range(2, 30) if lowest[e] == lowest[e - 2])  # two epochs in vain
    patient = fitted(X, Y, **{**settings, "patience": 2})
    assert patient.validation_mse == lowest[stop]


def test_the_weight_decay_with_the_smallest_validation_error_wins() -> None:
    X, Y = linear_world(300)
    decays = (0.01, 30.0)
    alone = {
        decay: fitted(X, Y, learning_rate=1e-2, weight_decays=(decay,)).validation_mse
        for decay in decays
    }
    found = fitted(X, Y, learning_rate=1e-2, weight_decays=decays)
    assert found.weight_decay == min(alone, key=alone.__getitem__)
    assert found.validation_mse == min(alone.values())


def test_columns_of_any_scale_are_the_same_to_the_mlp() -> None:
    X, Y = linear_world(300)
    scaled = X * torch.tensor([2.0**10] * 12 + [1.0] * 12)
    again = fitted(scaled, Y).predict(scaled)
    np.testing.assert_allclose(again, fitted(X, Y).predict(X), rtol=1e-4, atol=1e-3)


def test_divergence_is_an_error() -> None:
    X, Y = linear_world(200)
    changes = {"mlp_learning_rate": 1e30, "mlp_batch": 64}  # several steps before an evaluation
    settings = ProbeSettings().model_copy(update=changes)
    with pytest.raises(TrainingError, match="Training diverged at step"):
        fit_mlp(X, Y, settings, 0)


def test_the_scaler_sees_no_validation_row() -> None:
    X, Y = linear_world(100)
    order = np.random.default_rng(SPLIT_SEED).permutation(100)
    spoiled = Y.copy()
    spoiled[order[:10]] += 1e6
    one, other = (fitted(X, targets, epochs=1).network for targets in (Y, spoiled))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b)
