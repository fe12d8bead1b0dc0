"""Scorers without training: popularity, features, edges, random scores, and the hidden truth."""

from __future__ import annotations

import numpy as np
import polars as pl
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
        edges: Edges with the columns ``item``, ``neighbor``, ``weight``, sorted by item.
        items: Number of items N.
        device: Device of the scores.
    """
    item = edges["item"].to_torch().long()
    neighbor = edges["neighbor"].to_torch().long().to(device)
    weights = edges["weight"].to_torch().float().to(device)
    # Swing scores can be far below the tolerance of ties, and only their order matters here.
    weights = weights / max(float(weights.max()) if len(weights) else 0.0, 1e-30) * 1e3
    counts = torch.bincount(item, minlength=items)  # [N]
    ends = counts.cumsum(0)

    def score(queries: Tensor) -> Tensor:
        each = counts[queries]  # [q]
        row = torch.arange(len(queries)).repeat_interleave(each)
        first = (ends[queries] - each.cumsum(0)).repeat_interleave(each)
        place = (first + torch.arange(len(row))).to(device)
        scores = torch.zeros(len(queries), items, device=device)
        scores[row.to(device), neighbor[place]] = weights[place]
        return scores

    return score


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
