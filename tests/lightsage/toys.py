"""Small random graphs for unit tests."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from okml.lightsage.adjacency import Adjacency


def random_edges(nodes=40, edges=160, seed=0):
    """Return distinct directed edges; the last five nodes have none."""
    rng = np.random.default_rng(seed)
    codes = rng.choice((nodes - 5) ** 2, edges, replace=False)
    item, neighbor = codes // (nodes - 5), codes % (nodes - 5)
    kept = item != neighbor
    return item[kept], neighbor[kept], rng.uniform(0.1, 2, kept.sum())


def graph(nodes=40, edges=160, seed=0, symmetric=True):
    """Return an adjacency of random edges."""
    item, neighbor, weight = random_edges(nodes, edges, seed)
    if symmetric:
        item, neighbor = np.concatenate([item, neighbor]), np.concatenate([neighbor, item])
        weight = np.concatenate([weight, weight])
    return Adjacency.from_edges(nodes, item, neighbor, weight)


def edge_frame(nodes=40, edges=160, seed=0):
    """Return the same edges as a frame."""
    item, neighbor, weight = random_edges(nodes, edges, seed)
    return pl.DataFrame(
        {"item": item.astype(np.int32), "neighbor": neighbor.astype(np.int32), "weight": weight}
    ).sort("item", "neighbor")


def features(nodes=40, width=6, seed=0):
    """Return random features."""
    drawn = np.random.default_rng(seed).normal(size=(nodes, width))
    return torch.from_numpy(drawn.astype(np.float32))
