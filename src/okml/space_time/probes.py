"""Linear probes on the rows that seeds draw, and what they predict for the test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from okml.space_time.judging import Arm, Fixed, whole
from okml.space_time.layers import Draw
from okml.space_time.metrics import Floats
from okml.space_time.ridge import Preprocessing, RidgeFit, as_float64, fit_ridge, preprocess
from okml.space_time.study import Study


def prepared(study: Study, states: NDArray[np.float32], how: Preprocessing | None = None) -> Tensor:
    """Prepare the residual stream of entities, [n, d], for a probe as the profile says: float64."""
    return preprocess(states, how or study.profile.probe.preprocess, study.device)


def fit(study: Study, features: Tensor, y: Floats, rows: Draw) -> RidgeFit:
    """Fit the probe on a seed's training rows of features [n, d] and targets [n, t]."""
    return fit_ridge(features[rows.train], y[rows.train], study.lambdas)


def predict(study: Study, features: Tensor, y: Floats, rows: Draw) -> Floats:
    """Fit the probe on a seed's training rows and predict its test rows, [n_test, t]."""
    fitted = fit(study, features, y, rows)
    return np.asarray(fitted.predict(features[rows.test]).cpu().numpy())


def direction(
    study: Study, name: str, states: NDArray[np.float32], rows: Draw, target: str
) -> Floats:
    """Return the direction of the residual stream along which a probed target grows, [d].

    Args:
        study: The study of the run.
        name: The name of the set.
        states: The residual stream of its entities after a layer, [n, d].
        rows: The rows that a seed draws.
        target: The column of the set, such as ``longitude``.
    """
    entity_set = study.entities(name)
    fitted = fit(study, prepared(study, states), entity_set.y(), rows)
    return fitted.coef[:, entity_set.targets.index(target)].cpu().numpy()


def covariance(
    study: Study, name: str, states: NDArray[np.float32], rows: Draw, target: str
) -> Floats:
    """Return the covariance of the residual stream with a target over the training rows, [d].

    It is the direction that :func:`direction` takes as λ grows, so that no λ decides it.
    """
    entity_set = study.entities(name)
    features = prepared(study, states)[rows.train]
    y = as_float64(entity_set.y()[rows.train, entity_set.targets.index(target)], features.device)
    found = (y - y.mean()) @ (features - features.mean(0)) / len(y)
    return np.asarray(found.cpu().numpy())


def linear(study: Study, by_seed: Mapping[int, Floats]) -> Arm:
    """Return what linear probes predict by seed as an arm, fixed where no seed changes them."""
    return Fixed(by_seed) if study.fixed else by_seed


def arm(
    study: Study, name: str, of_seed: Callable[[Draw, int], Floats], *, random: bool = False
) -> Arm:
    """Return what is predicted for a set, for every seed.

    Args:
        study: The study of the run.
        name: The name of the set.
        of_seed: A function of the rows that a seed draws, and of the seed; it returns predictions
            for the test rows, [n_test, t].
        random: Whether a seed draws more than rows, such as initial weights. Other arms need the
            first seed alone where every seed draws all rows.
    """
    seeds = study.profile.seeds if random else study.probe_seeds
    drawn = {seed: study.rows(name, seed) for seed in seeds}
    n = len(study.entities(name))
    found = {seed: whole(n, rows.test, of_seed(rows, seed)) for seed, rows in drawn.items()}
    return found if random else linear(study, found)


def linear_arm(study: Study, name: str, features: Tensor) -> Arm:
    """Return what the linear probe of some features of a set, [n, d], predicts."""
    y = study.entities(name).y()
    return arm(study, name, lambda rows, _: predict(study, features, y, rows))
