"""Off-policy evaluation: what a policy would have earned, from a log that another policy made.

With cumulative ratios ``w_t = Π π(a|s) / μ(a|s)`` over the steps up to ``t``:

* per-decision importance sampling (Precup et al., 2000): mean of ``Σ γ^t w_t r_t``;
* its self-normalized form, which divides by the mean of ``w_t``: a little bias, less variance;
* doubly robust (Jiang and Li, 2016): ``Σ γ^t (w_{t-1} V(s_t) + w_t (r_t - Q(s_t, a_t)))``, unbiased
  for any Q, and good if Q is;
* the direct method: the mean of ``V`` at the first step, as good or bad as the model.

What one action earns needs no product of ratios: :func:`step_estimate`.

The effective sample size ``(Σ w)² / Σ w²`` says how many sessions an estimate really rests on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.errors import ParameterError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Logged:
    """Logged sessions as an estimator sees them; all arrays are ``[s, t]``.

    Attributes:
        log_ratio: ``log π(a|s) - log μ(a|s)`` of each action.
        rewards: Of each action.
        real: Whether there was an action.
        values: ``Q(s, a)`` of a model.
        state_values: ``V(s)`` of the model under π: the mean of Q over its actions.
    """

    log_ratio: Floats
    rewards: Floats
    real: NDArray[np.bool_]
    values: Floats
    state_values: Floats

    def __post_init__(self) -> None:
        shapes = {array.shape for array in vars(self).values()}
        if len(shapes) != 1:
            raise ParameterError(f"Arrays of logged sessions differ in shape: {shapes}.")


@dataclass(frozen=True)
class Value:
    """An estimate with its standard error over sessions."""

    mean: float
    standard_error: float


def cumulative_weights(logged: Logged, clip: float | None = None) -> Floats:
    """Return ``w_t``, ``[s, t]``; a session that is over keeps the weight it ended with.

    Args:
        logged: The sessions.
        clip: Largest weight; None: unbiased.
    """
    weights = np.exp(np.cumsum(np.where(logged.real, logged.log_ratio, 0.0), axis=1))
    found: Floats = weights if clip is None else np.minimum(weights, clip)
    return found


def effective_sample(weights: Floats) -> float:
    """Return the effective sample size of weights ``[s]``: sessions, or actions."""
    return float(weights.sum() ** 2 / max(float((weights**2).sum()), 1e-300))


def importance_sampling(logged: Logged, gamma: float, clip: float | None = None) -> Value:
    """Return the per-decision importance-sampled return."""
    gains = cumulative_weights(logged, clip) * _rewards(logged)
    return _mean(gains @ _discounts(gains, gamma))


def self_normalized(logged: Logged, gamma: float, clip: float | None = None) -> Value:
    """Return the same with weights that are divided by their mean at each step."""
    weights = cumulative_weights(logged, clip)
    share = weights / np.maximum(weights.mean(0), 1e-300)
    rewards = _rewards(logged)
    discounts = _discounts(weights, gamma)
    value = float((share * rewards).mean(0) @ discounts)
    # The influence of a session on a ratio of means is linear around it.
    of_step = (share * rewards).mean(0)
    influence = (share * (rewards - of_step)) @ discounts
    return Value(value, float(influence.std(ddof=1) / np.sqrt(len(influence))))


def doubly_robust(logged: Logged, gamma: float, clip: float | None = None) -> Value:
    """Return the doubly robust return."""
    weights = cumulative_weights(logged, clip)
    before = np.concatenate([np.ones((len(weights), 1)), weights[:, :-1]], axis=1)
    control = before * np.where(logged.real, logged.state_values, 0.0)
    surprise = weights * np.where(logged.real, logged.rewards - logged.values, 0.0)
    gains = control + surprise
    return _mean(gains @ _discounts(gains, gamma))


def direct_method(logged: Logged) -> Value:
    """Return the model's own value of the first states."""
    return _mean(logged.state_values[:, 0])


@dataclass(frozen=True)
class StepEstimate:
    """What an action of a policy earns, and what the estimate rests on.

    Attributes:
        value: Self-normalized; NaN where too few effective actions are left, since a weighted
            mean of rewards looks plausible even if a handful carries it.
        effective: Effective actions.
        standard_error: Of a ratio of means, if actions are independent; NaN like the value.
    """

    value: float
    effective: float
    standard_error: float


def step_estimate(ratio: Floats, rewards: Floats, cap: float, least: float) -> StepEstimate:
    """Return the capped self-normalized estimate of the mean reward of an action (NCIS).

    Args:
        ratio: ``π(a|s) / μ(a|s)`` of each action, ``[n]``.
        rewards: ``[n]``.
        cap: Largest ratio; infinite: no bias beyond that of a ratio of means.
        least: Effective actions below which nothing is reported.
    """
    weights = np.minimum(ratio, cap)
    total = max(float(weights.sum()), 1e-300)
    effective = effective_sample(weights)
    value = float(weights @ rewards) / total if effective >= least else float("nan")
    error = float(np.sqrt(((weights * (rewards - value)) ** 2).sum())) / total
    return StepEstimate(value, effective, error)


def estimates(
    logged: Logged, gamma: float, horizons: tuple[int, ...], clip: float, least: float
) -> pl.DataFrame:
    """Return a row a horizon and estimator.

    Columns: ``horizon``, ``estimator``, ``value``, ``standard_error``, ``effective`` (sessions, the
    fewest over the steps, since every step has a part in the sum) and ``reported``, which is false
    where fewer than ``least`` effective sessions are left; there value and error are NaN.
    """
    rows = []
    for horizon in horizons:
        cut = Logged(**{name: array[:, :horizon] for name, array in vars(logged).items()})
        left = fewest_effective(cumulative_weights(cut))
        clipped = fewest_effective(cumulative_weights(cut, clip))
        found = {
            "importance": (importance_sampling(cut, gamma), left),
            "clipped importance": (importance_sampling(cut, gamma, clip), clipped),
            "self-normalized": (self_normalized(cut, gamma), left),
            "doubly robust": (doubly_robust(cut, gamma), left),
        }
        for name, (value, effective) in found.items():
            enough = effective >= least
            rows.append(
                {
                    "horizon": horizon,
                    "estimator": name,
                    "value": value.mean if enough else float("nan"),
                    "standard_error": value.standard_error if enough else float("nan"),
                    "effective": effective,
                    "reported": enough,
                }
            )
    return pl.DataFrame(rows)


def fewest_effective(weights: Floats) -> float:
    """Return the smallest effective sample size over steps.

    Args:
        weights: Cumulative weights of sessions and steps, ``[s, n]``.
    """
    return min(effective_sample(column) for column in weights.T)


def _rewards(logged: Logged) -> Floats:
    return np.where(logged.real, logged.rewards, 0.0)


def _discounts(gains: Floats, gamma: float) -> Floats:
    return np.power(gamma, np.arange(gains.shape[1], dtype=np.float64))


def _mean(values: Floats) -> Value:
    return Value(float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5)
