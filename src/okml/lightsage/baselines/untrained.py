"""Scorers without training: popularity, features, edges, random scores, and the hidden truth."""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from okml.lightsage.ranking import Scorer, vector_scorer


def popularity_scorer(clicks: Tensor) -> Scorer:
    """Score each item by its number of clicks, ``[N]``, independent of the viewed item."""
    row = clicks.float()
    return lambda items: row.expand(len(items), -1)


def category_scorer(clicks: Tensor, category: Tensor) -> Scorer:
    """Score items of the viewed item's category by clicks, and all others below 0.

    Args:
        clicks: Number of clicks of each item, ``[N]``.
        category: Number of each item's category, ``[N]``.
    """
    row = clicks.float()
    below = row / (row.max() + 1) - 1
    return lambda items: torch.where(category[items].unsqueeze(1) == category, row, below)


def feature_scorer(features: Tensor) -> Scorer:
    """Score by the cosine of features, ``[N, F]``; 0 for an item whose features are all 0."""
    return vector_scorer(nn.functional.normalize(features.float(), dim=1, eps=1e-30))


def random_scorer(items: int, seed: int) -> Scorer:
    """Score each pair of items by a random number that is fixed by the seed."""

    def score(queries: Tensor) -> Tensor:
        rows = [
            np.random.default_rng([seed, q]).random(items, np.float32) for q in queries.tolist()
        ]
        return torch.from_numpy(np.stack(rows))

    return score


def edge_scorer(edges: pl.DataFrame, items: int, device: torch.device) -> Scorer:
    """Return the weights of edges as scores; pairs without an edge score 0 and tie.

    With Swing or cosine, without the caps that a graph needs, this is item-based collaborative
    filtering (Linden et al., 2003).

    Args:
        edges: Edges with the columns ``item``, ``neighbor``, ``weight``, each pair once.
        items: Number of items N.
        device: Device of the scores.
    """
    weight = edges["weight"].to_numpy()
    # Swing scores can be far below the tolerance of ties, and only their order matters here.
    scaled = (weight / max(weight.max(initial=0), 1e-30) * 1e3).astype(np.float32)
    ends = edges["item"].to_numpy(), edges["neighbor"].to_numpy()
    matrix = sp.csr_array((scaled, ends), shape=(items, items))
    return lambda queries: torch.from_numpy(matrix[queries.numpy()].toarray()).to(device)


def truth_scorer(likeliest: Tensor) -> Scorer:
    """Score by the order of the probabilities that synthetic clicks are drawn from.

    The test pairs of the synthetic shop are clicks on the page of the viewed item, so no scorer
    that knows the viewed item alone has a higher expected hit rate. The order includes the
    popularity of items, which attracts clicks there, beside their distance.

    Args:
        likeliest: Items that a click on each item's page can lead to, the likeliest first,
            ``[N, M]``, padded with -1.
    """
    items, most = likeliest.shape
    places = torch.arange(most, 0, -1).float()

    def score(queries: Tensor) -> Tensor:
        chosen = likeliest[queries].long() + 1  # [q, M]
        scores = torch.zeros(len(queries), items + 1)  # the first column takes the padding
        return scores.scatter_(1, chosen, places.expand(chosen.shape))[:, 1:]

    return score
