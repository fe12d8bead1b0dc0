"""Scorers without training: popularity, features, edges, random scores, and the hidden truth."""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp
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


def edge_scorer(edges: pl.DataFrame, items: int) -> Scorer:
    """Return the weights of edges as scores; pairs without an edge score 0 and tie.

    With Swing or cosine, without the caps that a graph needs, this is item-based collaborative
    filtering (Linden et al., 2003).

    Args:
        edges: Edges with the columns ``item``, ``neighbor``, ``weight``.
        items: Number of items N.
    """
    places = (edges["item"].to_numpy(), edges["neighbor"].to_numpy())
    weights = edges["weight"].to_numpy().astype(np.float32)
    # Swing scores can be far below the tolerance of ties, and only their order matters here.
    weights = weights / max(float(weights.max(initial=0)), 1e-30) * 1e3
    matrix = sp.coo_array((weights, places), shape=(items, items)).tocsr()

    def score(queries: Numbers) -> Scores:
        dense: Scores = matrix[queries].toarray()
        return dense

    return score


def truth_scorer(truth: NDArray[np.float64]) -> Scorer:
    """Score by the negative distance of the latent positions behind synthetic clicks."""
    squares = (truth**2).sum(1)

    def score(items: Numbers) -> Scores:
        distance = squares[items][:, None] + squares[None, :] - 2 * truth[items] @ truth.T
        scores: Scores = (-distance / truth.shape[1]).astype(np.float32)
        return scores

    return score
