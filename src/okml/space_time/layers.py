"""Probes of all layers of a model, one layer in memory at a time (Figure 2 of the paper)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.runtime import progress
from okml.space_time.ridge import (
    Features,
    Lambdas,
    Preprocessing,
    RidgeFit,
    RidgeSystem,
    Route,
    preprocess,
)


@dataclass(frozen=True)
class LayerFit:
    """The probes of one layer.

    Attributes:
        layer: -1 for the embedding, l for the output of block l.
        fits: The probe of each named target.
        predictions: Its predictions for the test rows, [n_test, t].
    """

    layer: int
    fits: Mapping[str, RidgeFit]
    predictions: Mapping[str, NDArray[np.float64]]


def fit_layers(
    activations: NDArray[Any] | Iterable[tuple[int, Tensor]],
    targets: Mapping[str, NDArray[np.float64]],
    train: NDArray[Any],
    test: NDArray[Any],
    *,
    how: Preprocessing = "rms",
    lambdas: Lambdas | None = None,
    route: Route = "auto",
    device: torch.device | str | None = None,
) -> Iterator[LayerFit]:
    """Fit all layers of a model, holding one layer at a time.

    All targets of a layer share its decomposition, so that controls such as shuffled targets or
    unit vectors instead of degrees cost next to nothing.

    Args:
        activations: [L + 1, n, d], the embedding first, such as a memory map; or pairs of a layer
            and its states [n, d], such as a model that is being streamed.
        targets: Named targets, [n, t] each.
        train: Rows to fit on, indices or a mask.
        test: Rows to predict.
        how: Preprocessing of rows.
        lambdas: Penalties to choose from; by default ``LambdaGrid()``, relative to each layer.
        route: How to solve.
        device: Where to solve; by default where the activations are.

    Yields:
        The layers in order.
    """
    if isinstance(activations, np.ndarray):
        layers: Iterable[tuple[int, Features]] = zip(
            range(-1, len(activations) - 1), activations, strict=True
        )
        layers = progress(layers, "probes", total=len(activations))
    else:
        layers = activations
    for layer, states in layers:
        system = RidgeSystem.of(preprocess(_rows(states, train), how, device), route)
        fits = {name: system.fit(Y[train], lambdas) for name, Y in targets.items()}
        held_out = preprocess(_rows(states, test), how, device)
        predictions = {name: fit.predict(held_out).cpu().numpy() for name, fit in fits.items()}
        yield LayerFit(layer, fits, predictions)


def _rows(states: Features, rows: NDArray[Any]) -> Features:
    if isinstance(states, torch.Tensor):
        return states[torch.from_numpy(rows).to(states.device)]
    chosen: NDArray[Any] = states[rows]
    return chosen
