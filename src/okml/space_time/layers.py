"""Probes of all layers of a model, one layer in memory at a time (Figure 2 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from okml.space_time.entities import EntitySet
from okml.space_time.judging import to_frame, whole
from okml.space_time.metrics import Floats, mean_r2, score
from okml.space_time.ridge import Features, Lambdas, Preprocessing, RidgeFit, fit_ridge, preprocess

REGION_FIRST = "'s "  # stands between the region and the rest of a name that spells it
FEWEST = 20  # test names of a group, below which R² says nothing
SCORES = ("r2", "spearman", "proximity")
# Layers whose predictions are compared: the one that leave-one-out picks, the embedding, the first
# one, the middle one, and of the second half those with the smallest and the largest such error.
ROLES = CHOSEN, EMBEDDING, FIRST, HALF, LATE_BEST, LATE_WORST = (
    "chosen", "embedding", "first", "half", "late best", "late worst",
)  # fmt: skip


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


def fit_layer(
    layer: int,
    states: Features,
    y: Floats,
    draws: Sequence[Draw],
    *,
    how: Preprocessing = "rms",
    lambdas: Lambdas | None = None,
    device: torch.device | str | None = None,
) -> list[LayerFit]:
    """Fit the probes of one layer for several draws of rows, which are prepared once for all.

    Args:
        layer: -1 for the embedding, l for the output of block l.
        states: The states of the layer, [n, d].
        y: Targets, [n, t].
        draws: Training and test rows.
        how: Preprocessing of rows.
        lambdas: Penalties to choose from; by default ``LambdaGrid()``, relative to each layer.
        device: The device that solves.
    """
    features = preprocess(states, how, device)
    fits = [fit_ridge(features[rows.train], y[rows.train], lambdas) for rows in draws]
    return [
        LayerFit(layer, fit, fit.predict(features[rows.test]).cpu().numpy())
        for fit, rows in zip(fits, draws, strict=True)
    ]


def layer_frames(
    entity_set: EntitySet,
    draws: Mapping[int, Draw],
    layers: Sequence[Sequence[LayerFit]],
) -> dict[str, pl.DataFrame]:
    """Score the probes of all layers, for every seed.

    The frame ``curves`` has a row a layer and seed: ``loo`` (leave-one-out error on the training
    rows, in standardized units), ``lambda``, ``interior``, ``r2``, ``spearman``, ``proximity``,
    ``median_km``, ``r2_spelled`` and ``r2_bare`` (of names that spell their region, and of the
    others), ``depth`` (0 after the first block, 1 after the last), and ``chosen``, the layer with
    the smallest ``loo``: picked without a look at the test rows. The frame ``predictions`` has a
    row a seed, role of a layer (see ``ROLES``) and test entity: what the probe of that layer
    predicts.

    Args:
        entity_set: The entities whose coordinates are predicted.
        draws: The rows of each seed.
        layers: The layers in order, and of each the probes of all seeds.
    """
    y, spelled = entity_set.y(), spells_region(entity_set.text())
    last = len(layers) - 2
    found, predictions = [], []
    for (seed, rows), *fits in zip(draws.items(), *layers, strict=True):
        true = y[rows.test]
        for fitted in fits:
            found.append(
                {
                    "seed": seed,
                    "layer": fitted.layer,
                    "depth": fitted.layer / last,
                    "loo": fitted.fit.best_loo_mse,
                    "lambda": fitted.fit.lam,
                    "interior": fitted.fit.interior,
                    **score(true, fitted.predicted, entity_set.kind),
                    **r2_by_spelling(true, fitted.predicted, spelled[rows.test]),
                }
            )
        for role, fitted in _roles(fits, last).items():
            predicted = to_frame({seed: whole(len(y), rows.test, fitted.predicted)})
            predictions.append(predicted.with_columns(role=pl.lit(role)))
    best = pl.col("layer").sort_by("loo").first().over("seed")
    splits = {"r2_spelled": pl.Float64, "r2_bare": pl.Float64}  # may be null in every row
    curves = pl.DataFrame(found, schema_overrides=splits)
    return {
        "curves": curves.with_columns(chosen=best),
        "predictions": pl.concat(predictions),
    }


def spells_region(names: Sequence[str]) -> NDArray[np.bool_]:
    """Tell which names spell their region, as in "Iowa's Dallas County", [n]."""
    return np.array([REGION_FIRST in name for name in names])


def r2_by_spelling(
    true: Floats, predicted: Floats, spelled: NDArray[np.bool_]
) -> dict[str, float | None]:
    """Return R² of the names that spell their region and of the others; None for too few.

    Args:
        true: The targets, [n, t].
        predicted: The predictions, [n, t].
        spelled: Whether a name spells its region, [n].
    """
    return {
        f"r2_{group}": mean_r2(true[rows], predicted[rows]) if rows.sum() >= FEWEST else None
        for group, rows in (("spelled", spelled), ("bare", ~spelled))
    }


def _roles(fits: Sequence[LayerFit], last: int) -> dict[str, LayerFit]:
    """Return the layers whose predictions are compared; the test rows choose none of them."""

    def error(fitted: LayerFit) -> float:
        return fitted.fit.best_loo_mse

    late = [fitted for fitted in fits if fitted.layer >= last // 2]
    middle = next(fitted for fitted in fits if fitted.layer == last // 2)
    chosen = min(fits, key=error), fits[0], fits[1], middle
    of_late = min(late, key=error), max(late, key=error)
    return dict(zip(ROLES, (*chosen, *of_late), strict=True))
