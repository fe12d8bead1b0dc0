"""Baselines without training: popularity, feature similarity, and random scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from okml.lightsage.ranking import Numbers, Scorer, Scores, vector_scorer


def popularity_scorer(clicks: NDArray[np.integer]) -> Scorer:
    """Score each item by its number of clicks, independent of the viewed item."""
    row = clicks.astype(np.float32)
    return lambda items: np.broadcast_to(row, (len(items), len(row)))


def category_scorer(clicks: NDArray[np.integer], category: NDArray[np.integer]) -> Scorer:
    """Score items of the viewed item's category by clicks, and all others below 0."""
    row = clicks.astype(np.float32)

    def score(items: Numbers) -> Scores:
        same = category[items][:, None] == category[None, :]
        return np.where(same, row, row / (row.max() + 1) - 1).astype(np.float32)

    return score


def feature_scorer(features: NDArray[np.floating]) -> Scorer:
    """Score by the cosine of the items' features; 0 for an item without features."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    scaled = np.divide(features, lengths, out=np.zeros_like(features), where=lengths > 0)
    return vector_scorer(scaled.astype(np.float32))


def random_scorer(items: int, seed: int) -> Scorer:
    """Score each pair of items by a random number that is fixed by the seed."""

    def score(queries: Numbers) -> Scores:
        rows = [np.random.default_rng([seed, int(q)]).random(items, np.float32) for q in queries]
        return np.stack(rows)

    return score
