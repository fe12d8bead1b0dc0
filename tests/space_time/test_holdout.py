from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge

from okml.errors import ParameterError
from okml.space_time.baselines import choose_sparse_lambda
from okml.space_time.holdout import (
    Refits,
    displacement,
    frequent_blocks,
    hold_out,
)
from okml.space_time.metrics import mean_r2, mean_spearman, proximity_errors
from okml.space_time.ridge import fit_ridge

LAM = 2.0
COUNTRIES = ("aa", "bb", "cc", "dd")


class World:
    """Four countries; features tell the place linearly, with noise."""

    def __init__(self, t: int = 2, n: int = 160, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.country = np.array(COUNTRIES)[rng.permutation(n) % 4]
        centers = dict(zip(COUNTRIES, rng.uniform(-50, 50, (4, t)), strict=True))
        self.y = np.array([centers[c] for c in self.country]) + 5 * rng.normal(size=(n, t))
        self.X: Any = self.y @ rng.normal(size=(t, 9)) + 20 * rng.normal(size=(n, 9)) + 3
        self.is_test = rng.permutation(n) % 5 == 0

    def refits(self, lam: float | None = LAM) -> Refits:
        return Refits(self.X, self.y, self.is_test, lam)

    def predict(self, train: np.ndarray, lam: float = LAM) -> np.ndarray:
        model = Ridge(lam, solver="cholesky").fit(self.X[train], self.y[train])
        return model.predict(self.X).reshape(self.y.shape)


@pytest.mark.parametrize(("t", "kind"), [(2, "space"), (1, "time")])
def test_every_score_equals_refitting_from_scratch(t: int, kind: str) -> None:
    world = World(t)
    found = hold_out(world.refits(), world.country, ["aa", "cc"], kind, matched=True)
    nominal = world.predict(~world.is_test)
    for row in found.iter_rows(named=True):
        block = world.country == row["block"]
        tested = block & world.is_test
        heldout, matched = world.predict(~block), world.predict(~block & ~world.is_test)
        expected = {
            "nominal": proximity_errors(world.y, nominal, kind, evaluated=tested).mean(),
            "heldout": proximity_errors(world.y, heldout, kind, evaluated=block).mean(),
            "heldout_matched": proximity_errors(world.y, matched, kind, evaluated=tested).mean(),
            "nominal_r2": mean_r2(world.y[tested], nominal[tested]),
            "heldout_r2": mean_r2(world.y[block], heldout[block]),
            "nominal_spearman": mean_spearman(world.y[tested], nominal[tested]),
            "heldout_spearman": mean_spearman(world.y[block], heldout[block]),
            **displacement(world.y[block], heldout[block], world.y[~block]),
        }
        assert {key: row[key] for key in expected} == pytest.approx(expected, rel=1e-6)
        assert (row["rows"], row["test_rows"]) == (block.sum(), tested.sum())


def test_sparse_features_run_through_the_same_function() -> None:
    world = World()
    arguments = (world.country, ["aa", "bb"], "space")
    dense = hold_out(world.refits(), *arguments)
    world.X = sparse.csr_matrix(world.X)
    thin = hold_out(world.refits(), *arguments)
    assert dense.columns == thin.columns
    for name in ("heldout_r2", "cosine", "norm_ratio", "predicted_x"):
        np.testing.assert_allclose(dense[name], thin[name], rtol=1e-2)


@pytest.mark.parametrize("as_features", [np.asarray, sparse.csr_matrix])
def test_lambda_is_chosen_on_the_training_rows_alone(as_features: Callable[..., Any]) -> None:
    world = World()
    X, y = world.X[~world.is_test], world.y[~world.is_test]
    chosen = (
        fit_ridge(X, y).lam
        if as_features is np.asarray
        else choose_sparse_lambda(sparse.csr_matrix(X), y, np.arange(len(y))).lam
    )
    world.X = as_features(world.X)
    found, same = (hold_out(world.refits(lam), world.country, ["aa"], "space")
                   for lam in (None, chosen))  # fmt: skip
    assert found.equals(same)


def test_a_perfect_linear_world_is_placed_without_having_been_seen() -> None:
    world = World()
    world.X = np.column_stack([world.y, np.ones(len(world.y))])
    found = hold_out(world.refits(1e-9), world.country, COUNTRIES, "space")
    np.testing.assert_allclose(found["heldout"], 0, atol=1e-6)
    np.testing.assert_allclose(found["cosine"], 1, rtol=1e-6)
    np.testing.assert_allclose(found["norm_ratio"], 1, rtol=1e-6)
    np.testing.assert_allclose(found["heldout_r2"], 1)


def test_a_country_flag_never_seen_says_nothing() -> None:
    """A one-hot country puts an unseen one at the mean of the others' centers."""
    world = World()
    world.X = (world.country[:, None] == np.array(COUNTRIES)).astype(float)
    found = hold_out(world.refits(1e-8), world.country, COUNTRIES, "space")
    for row in found.iter_rows(named=True):
        others = [
            world.y[world.country == country].mean(axis=0)
            for country in COUNTRIES
            if country != row["block"]
        ]
        predicted = (row["predicted_x"], row["predicted_y"])
        np.testing.assert_allclose(predicted, np.mean(others, axis=0), atol=1e-4)
        assert np.isnan(row["heldout_spearman"])
    assert found["heldout"].to_numpy().mean() > found["nominal"].to_numpy().mean() + 0.1


def test_displacement_by_hand() -> None:
    trained_on = np.array([[0.0, 0.0], [2.0, 2.0]])
    y = np.array([[1.0, 3.0], [1.0, 7.0]])  # center 4 above the mean
    p = np.array([[3.0, 3.0], [3.0, 3.0]])  # 2 up and 2 right of the mean
    found = displacement(y, p, trained_on)
    assert found["cosine"] == pytest.approx(np.sqrt(0.5))
    assert found["norm_ratio"] == pytest.approx(np.sqrt(8) / 4)
    assert (found["true_x"], found["true_y"]) == (1, 5)
    assert (found["mean_x"], found["mean_y"]) == (1, 1)
    assert (found["predicted_x"], found["predicted_y"]) == (3, 3)


def test_displacement_of_times_is_right_or_opposite() -> None:
    before, after = np.array([[1000.0]]), np.array([[1950.0]])
    mean = np.array([[1900.0]])
    assert displacement(after, np.array([[1920.0]]), mean)["cosine"] == 1
    assert displacement(before, np.array([[1920.0]]), mean)["cosine"] == -1
    assert displacement(after, np.array([[1920.0]]), mean)["norm_ratio"] == pytest.approx(0.4)
    nowhere = displacement(mean, after, mean)
    assert np.isnan(nowhere["cosine"])
    assert np.isnan(nowhere["norm_ratio"])
    assert "true_y" not in nowhere


def test_blocks_are_the_most_frequent_with_enough_rows_and_a_test_row() -> None:
    groups = ["a"] * 6 + ["b"] * 9 + ["c"] * 3 + ["untested"] * 5 + [None] * 20
    is_test = np.zeros(len(groups), bool)
    is_test[[0, 6, 15, 23]] = True
    assert frequent_blocks(groups, is_test, min_rows=1) == ["b", "a", "c"]
    assert frequent_blocks(groups, is_test, min_rows=4) == ["b", "a"]


def test_years_are_blocks_too_and_rows_without_a_label_are_always_trained_on() -> None:
    world = World(1)
    decade = [1990 if c == "aa" else None for c in world.country]
    found = hold_out(world.refits(), decade, [1990], "time")
    same = hold_out(world.refits(), world.country, ["aa"], "time")
    assert found["block"].to_list() == ["1990"]
    assert found.drop("block").equals(same.drop("block"))
    assert isinstance(found, pl.DataFrame)


@pytest.mark.parametrize("blocks", [["nowhere"], ["aa"]])
def test_a_block_that_cannot_be_tested_is_refused(blocks: list[str]) -> None:
    world = World()
    world.is_test &= world.country != "aa"
    with pytest.raises(ParameterError, match="no test row"):
        hold_out(world.refits(), world.country, blocks, "space")
