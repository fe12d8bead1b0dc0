"""Collaborative filtering by remembered pairs: Swing and cosine without a network.

Linden et al. (2003) recommend what is similar to an item by who had both; here the similarity is
Swing's or the cosine's, without the caps that a graph needs.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp

from okml.lightsage.ranking import Numbers, Scorer, Scores


def edge_scorer(edges: pl.DataFrame, items: int) -> Scorer:
    """Return the weights of edges as scores; pairs without an edge score 0 and tie.

    Args:
        edges: ``item``, ``neighbor``, ``weight``.
        items: N.
    """
    places = (edges["item"].to_numpy(), edges["neighbor"].to_numpy())
    weights = edges["weight"].to_numpy().astype(np.float32)
    # Scores of Swing can be far below the width of a tie; only their order matters here.
    weights = weights / max(float(weights.max(initial=0)), 1e-30) * 1e3
    matrix = sp.coo_array((weights, places), shape=(items, items)).tocsr()

    def score(queries: Numbers) -> Scores:
        dense: Scores = matrix[queries].toarray()
        return dense

    return score
