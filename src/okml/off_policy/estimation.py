"""Off-policy evaluation: the return of a target policy π, from the log of a behavior policy μ.

With cumulative importance ratios ``w_t = Π π(a|s) / μ(a|s)`` over the steps up to ``t``:

* per-decision importance sampling (Precup et al., 2000): mean of ``Σ γ^t w_t r_t``;
* its self-normalized form, which divides by the mean of ``w_t``: a little bias, less variance;
* doubly robust (Jiang and Li, 2016): ``Σ γ^t (w_{t-1} V(s_t) + w_t (r_t - Q(s_t, a_t)))``, unbiased
  for any Q, with a variance that falls as Q improves.

The reward of a single action needs no product of ratios: :func:`step_estimate`.

The effective sample size ``(Σ w)² / Σ w²`` measures how many sessions carry an estimate.
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
    """Logged sessions in padded arrays, all ``[s, t]`` (session, step).

    Attributes:
        log_ratio: The log importance ratio ``log π(a|s) - log μ(a|s)`` of each action.
        rewards: The reward of each action.
        real: Whether the step has an action; False marks padding.
        values: ``Q(s, a)`` of a model.
        state_values: ``V(s)`` of the model under π: the mean of Q over π's actions.
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
    """Return the cumulative ratios ``w_t``, ``[s, t]``; padding repeats a session's last weight.

    Args:
        logged: The logged sessions.
        clip: The largest weight; None leaves the ratios unclipped, and so unbiased.
    """
    weights = np.exp(np.cumsum(np.where(logged.real, logged.log_ratio, 0.0), axis=1))
    found: Floats = weights if clip is None else np.minimum(weights, clip)
    return found


def effective_sample(weights: Floats) -> float:
    """Return the effective sample size of the weights ``[s]`` of sessions or actions."""
    return float(weights.sum() ** 2 / max(float((weights**2).sum()), 1e-300))


def importance_sampling(logged: Logged, gamma: float, clip: float | None = None) -> Value:
    """Return the per-decision importance sampling estimate of the discounted return."""
    gains = cumulative_weights(logged, clip) * _rewards(logged)
    return _mean(gains @ _discounts(gains, gamma))


def self_normalized(logged: Logged, gamma: float, clip: float | None = None) -> Value:
    """Return the importance sampling estimate with weights divided by their mean at each step."""
    weights = cumulative_weights(logged, clip)
    share = weights / np.maximum(weights.mean(0), 1e-300)
    rewards = _rewards(logged)
    discounts = _discounts(weights, gamma)
    value = float((share * rewards).mean(0) @ discounts)
    # Delta method: linearize the ratio of means in each session.
    of_step = (share * rewards).mean(0)
    influence = (share * (rewards - of_step)) @ discounts
    return Value(value, float(influence.std(ddof=1) / np.sqrt(len(influence))))


def doubly_robust(logged: Logged, gamma: float, clip: float | None = None) -> Value:
    """Return the doubly robust estimate of the discounted return."""
    weights = cumulative_weights(logged, clip)
    before = np.concatenate([np.ones((len(weights), 1)), weights[:, :-1]], axis=1)
    control = before * np.where(logged.real, logged.state_values, 0.0)
    surprise = weights * np.where(logged.real, logged.rewards - logged.values, 0.0)
    gains = control + surprise
    return _mean(gains @ _discounts(gains, gamma))


@dataclass(frozen=True)
class StepEstimate:
    """An estimate of the mean reward of one action of a policy.

    Attributes:
        value: The self-normalized estimate; NaN where the effective sample size is too small,
            since a weighted mean looks plausible even if a handful of rewards carry it.
        effective: The effective sample size, in actions.
        standard_error: The standard error of a ratio of means for independent actions; NaN
            where the value is.
    """

    value: float
    effective: float
    standard_error: float


def step_estimate(ratio: Floats, rewards: Floats, cap: float, least: float) -> StepEstimate:
    """Return the capped self-normalized estimate of the mean reward of an action (NCIS).

    Args:
        ratio: ``π(a|s) / μ(a|s)`` of each action, ``[n]``.
        rewards: The reward of each action, ``[n]``.
        cap: The largest ratio; infinity leaves only the bias of a ratio of means.
        least: The effective sample size below which the value is NaN.
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
    """Return one row for each horizon and estimator.

    Columns: ``horizon``, ``estimator``, ``value``, ``standard_error``, ``effective`` (the smallest
    effective number of sessions over the steps, since every step enters the sum) and ``reported``,
    which is false where it is below ``least``; value and error are then NaN.
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
        weights: The cumulative weights of sessions and steps, ``[s, t]``.
    """
    return min(effective_sample(column) for column in weights.T)


def _rewards(logged: Logged) -> Floats:
    return np.where(logged.real, logged.rewards, 0.0)


def _discounts(gains: Floats, gamma: float) -> Floats:
    return np.power(gamma, np.arange(gains.shape[1], dtype=np.float64))


def _mean(values: Floats) -> Value:
    return Value(float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5)
