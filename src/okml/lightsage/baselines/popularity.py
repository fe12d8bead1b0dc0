"""Baselines that learn nothing: what is popular, what looks alike, and chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from okml.lightsage.ranking import Numbers, Scorer, Scores, vector_scorer


def popularity_scorer(clicks: NDArray[np.integer]) -> Scorer:
    """Return the number of clicks of each item, whatever is looked at."""
    row = clicks.astype(np.float32)
    return lambda items: np.broadcast_to(row, (len(items), len(row)))


def category_scorer(clicks: NDArray[np.integer], category: NDArray[np.integer]) -> Scorer:
    """Return the clicks of items of the viewed item's category, and a little below 0 for others."""
    row = clicks.astype(np.float32)

    def score(items: Numbers) -> Scores:
        same = category[items][:, None] == category[None, :]
        return np.where(same, row, row / (row.max() + 1) - 1).astype(np.float32)

    return score


def feature_scorer(features: NDArray[np.floating]) -> Scorer:
    """Return the cosine of the items' features; 0 for an item without any."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    scaled = np.divide(features, lengths, out=np.zeros_like(features), where=lengths > 0)
    return vector_scorer(scaled.astype(np.float32))


def random_scorer(items: int, seed: int) -> Scorer:
    """Return a random number for each pair of items, always the same one."""

    def score(queries: Numbers) -> Scores:
        rows = [np.random.default_rng([seed, int(q)]).random(items, np.float32) for q in queries]
        return np.stack(rows)

    return score
