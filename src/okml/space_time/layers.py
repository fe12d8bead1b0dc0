"""Probes of all layers of a model, one layer in memory at a time (Figure 2 of the paper)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from okml.runtime import progress
from okml.space_time.metrics import Floats
from okml.space_time.ridge import Lambdas, Preprocessing, RidgeFit, fit_ridge, preprocess


@dataclass(frozen=True)
class Draw:
    """The rows that one seed reads, as indices into the set.

    Attributes:
        train: The rows that the probe is fitted on, [n_train].
        test: The rows that it is scored on, [n_test].
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass(frozen=True)
class LayerFit:
    """The probe of one layer.

    Attributes:
        layer: -1 for the embedding, l for the output of block l.
        predicted: The predictions of the probe for the test rows, [n_test, t].
    """

    layer: int
    fit: RidgeFit
    predicted: Floats


def fit_layers(
    activations: NDArray[np.floating],
    y: Floats,
    draws: Sequence[Draw],
    *,
    how: Preprocessing = "rms",
    lambdas: Lambdas | None = None,
    device: torch.device | str | None = None,
) -> Iterator[list[LayerFit]]:
    """Fit all layers of a model for several draws of rows; a layer is prepared once for all.

    Args:
        activations: States of shape [L + 1, n, d], the embedding first, such as a memory map.
        y: Targets, [n, t].
        draws: Training and test rows.
        how: Preprocessing of rows.
        lambdas: Penalties to choose from; by default ``LambdaGrid()``, relative to each layer.
        device: The device that solves.

    Yields:
        The layers in order, and of each the probes of all draws.
    """
    for index, states in enumerate(progress(activations, "probes", total=len(activations))):
        features = preprocess(states, how, device)
        fits = [fit_ridge(features[rows.train], y[rows.train], lambdas) for rows in draws]
        yield [
            LayerFit(index - 1, fit, fit.predict(features[rows.test]).cpu().numpy())
            for fit, rows in zip(fits, draws, strict=True)
        ]
