"""Probes of all layers of a model: okml beside scikit-learn, in one run on one machine.

Both fit the same float64 ridge regression with the same penalties, choose λ by exact leave-one-out
on the training rows and predict the test rows, layer after layer, from the same float32 array. They
take turns within each repeat, on the same number of threads.

    python benchmarks/ridge.py --out ridge.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from okml.benchmark import (
    BenchmarkRecord,
    Check,
    Quantity,
    in_turns,
    parser_of,
    write_benchmark,
)
from okml.benchmark import compare as compare_figures
from okml.space_time.layers import Draw, fit_layer
from okml.space_time.ridge import LambdaGrid

TOLERANCE = 1e-6  # largest difference of coefficients, as a share of the largest one
SEED = 0
GRID = LambdaGrid()
# scikit-learn's own choice of method (eigenvectors of XᵀX here), and the one it can be told to use.
PEERS = {
    "default": ("auto", "RidgeCV"),
    "svd": ("svd", 'RidgeCV(gcv_mode="svd")'),
}
QUANTITIES = (
    Quantity("cpu_seconds", "processor time, all layers", "s"),
    Quantity("seconds", "wall time, all layers", "s"),
)


@dataclass(frozen=True)
class Problem:
    """Activations [layers, n, d] with a planted place, true places [n, 2], and the split."""

    activations: np.ndarray
    y: np.ndarray
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Solution:
    """What a contestant found: λ [layers], coefficients [layers, d, 2], test predictions."""

    lam: np.ndarray
    coef: np.ndarray
    predictions: np.ndarray


def planted(layers: int, train: int, test: int, d: int) -> Problem:
    """Make features with a falling spectrum whose norm grows with depth, as in real models."""
    rng = np.random.default_rng(SEED)
    n = train + test
    y = np.column_stack([rng.uniform(-180, 180, n), rng.uniform(-90, 90, n)])
    spectrum = np.arange(1, d + 1) ** -0.5
    activations = np.empty((layers, n, d), dtype=np.float32)
    for layer in range(layers):
        mixing, _ = np.linalg.qr(rng.normal(size=(d, d)))
        noise = rng.normal(size=(n, d)) * spectrum
        signal = (y / y.std(axis=0)) @ rng.normal(size=(2, d)) * 0.1 * (layer + 1) / layers
        activations[layer] = 1.1**layer * ((noise + signal) @ mixing + rng.normal(size=d))
    return Problem(activations, y, np.arange(train), np.arange(train, n))


def with_okml(problem: Problem) -> Solution:
    """Fit all layers as the chapter does, on raw rows."""
    rows = Draw(problem.train, problem.test)
    found = [
        fitted
        for at, states in enumerate(problem.activations)
        for fitted in fit_layer(at - 1, states, problem.y, [rows], how="raw", lambdas=GRID)
    ]
    return Solution(
        np.array([one.fit.lam for one in found]),
        np.stack([one.fit.coef.numpy() for one in found]),
        np.stack([one.predicted for one in found]),
    )


def with_scikit_learn(problem: Problem, mode: str) -> Solution:
    """Fit RidgeCV to each layer, with targets standardized and penalties relative to it."""
    scaler = StandardScaler().fit(problem.y[problem.train])
    Z = scaler.transform(problem.y[problem.train])
    lams, coefs, predictions = [], [], []
    for states in problem.activations:
        X = states[problem.train].astype(np.float64)
        scale = float(np.square(X - X.mean(axis=0)).sum() / X.shape[1])
        model = RidgeCV(alphas=GRID.values(scale).numpy(), gcv_mode=mode).fit(X, Z)
        lams.append(model.alpha_)
        coefs.append(model.coef_.T * scaler.scale_)
        predicted = model.predict(states[problem.test].astype(np.float64))
        predictions.append(scaler.inverse_transform(predicted))
    return Solution(np.array(lams), np.stack(coefs), np.stack(predictions))


def differences(ours: Solution, theirs: Solution) -> float:
    """Return the largest difference of coefficients, as a share of the largest coefficient."""
    return float(np.abs(ours.coef - theirs.coef).max() / np.abs(theirs.coef).max())


def compare(arguments: argparse.Namespace) -> BenchmarkRecord:
    """Let all contestants take turns and compare their times and their numbers."""
    problem = planted(arguments.layers, arguments.train, arguments.test, arguments.d)
    contestants: dict[str, Callable[[Problem], Solution]] = {"okml": with_okml}
    contestants |= {
        name: partial(with_scikit_learn, mode=mode) for name, (mode, _) in PEERS.items()
    }
    first = planted(1, arguments.train, arguments.test, arguments.d)
    with threadpool_limits(arguments.threads):
        torch.set_num_threads(arguments.threads)
        for contestant in contestants.values():
            contestant(first)  # libraries load and warm up
        figures, solutions = in_turns(
            {name: partial(solve, problem) for name, solve in contestants.items()},
            arguments.repeats,
        )
    ours = figures.pop("okml")
    version = metadata.version("scikit-learn")
    return write_benchmark(
        arguments.out,
        "Ridge probes of all layers",
        f"Ridge probes of {arguments.layers} layers, {arguments.train} training rows, "
        f"d = {arguments.d}, 2 targets, λ out of {GRID.count} by exact leave-one-out, "
        f"{arguments.test} test rows predicted; random data with a planted signal, float64, "
        f"{arguments.threads} thread.",
        compare_figures(
            ours,
            {f"scikit-learn {version} {PEERS[name][1]}": peer for name, peer in figures.items()},
            QUANTITIES,
            arguments.repeats,
        ),
        [
            Check(
                what=f"coefficients beside {PEERS[name][1]}",
                difference=differences(solutions["okml"], solutions[name]),
                tolerance=TOLERANCE,
            )
            for name in figures
        ],
    )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--layers", type=int, default=31)
    parser.add_argument("--train", type=int, default=2400)
    parser.add_argument("--test", type=int, default=600)
    parser.add_argument("--d", type=int, default=576)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(compare(arguments))


if __name__ == "__main__":
    main()
