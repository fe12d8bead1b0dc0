"""Off-policy learning: estimators of a policy's value, and training weights of logged actions."""

from okml.off_policy.estimation import (
    Logged,
    StepEstimate,
    Value,
    cumulative_weights,
    doubly_robust,
    effective_sample,
    estimates,
    fewest_effective,
    importance_sampling,
    self_normalized,
    step_estimate,
)
from okml.off_policy.weights import capped_ratio, top_k_factor

__all__ = [
    "Logged",
    "StepEstimate",
    "Value",
    "capped_ratio",
    "cumulative_weights",
    "doubly_robust",
    "effective_sample",
    "estimates",
    "fewest_effective",
    "importance_sampling",
    "self_normalized",
    "step_estimate",
    "top_k_factor",
]
