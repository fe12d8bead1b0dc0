"""Item-based collaborative filtering: Swing and cosine without a network.

Linden et al. (2003) recommend items that are similar by their common users; here the similarity is
Swing or cosine, without the caps that a graph needs.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp

from okml.lightsage.ranking import Numbers, Scorer, Scores


def edge_scorer(edges: pl.DataFrame, items: int) -> Scorer:
    """Return the weights of edges as scores; pairs without an edge score 0 and tie.

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
