"""PinSage (Ying et al., 2018): importance pooling, two transforms per layer, two-layer head.

Its neighborhoods and hard negatives, and GraphSAGE's positives, come from short random walks.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from okml.lightsage.adjacency import Adjacency
from okml.lightsage.network.encoder import Convolution, GraphEncoder
from okml.lightsage.ranking import Numbers
from okml.settings import BelowOne, Count, Depth, Settings, Whole, Width, rule


class PinSageSettings(Settings):
    """Sizes for thousands of items; the paper's are for billions."""

    layers: Depth = 2
    width: Width = 64
    neighbors: Count = 10  # T; paper: 50
    walks: Count = 100  # from each node
    length: Count = 3
    restart: BelowOne = 0.5
    hard: Whole = 1  # hard negatives of a pair
    hard_first: Whole = 50  # ranks by visits; paper: 2000 to 5000
    hard_last: Count = 200

    _ranks = rule(
        lambda settings: settings.hard_first + settings.hard <= settings.hard_last,
        "ranks {hard_first} to {hard_last} have fewer than {hard} hard negatives",
    )


class PinSageConvolution(Convolution):
    """``norm(ReLU(W [h || n] + w))`` with ``n`` the weighted mean of ``ReLU(Q h + q)``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, activation=True, normalize=True)
        self.neighbor = nn.Linear(inputs, outputs)
        self.linear = nn.Linear(inputs + outputs, outputs)

    def before(self, h: Tensor) -> Tensor:
        """Return the messages of neighbors, ``[n, outputs]``."""
        passed: Tensor = torch.relu(self.neighbor(h))
        return passed


class PinSage(GraphEncoder):
    """PinSage over importance neighborhoods.

    Unlike in the paper, its vectors have length 1, as those of all encoders here, so that one index
    serves all of them.

    Args:
        features: Number of input features F.
    """

    def __init__(self, settings: PinSageSettings, features: int) -> None:
        width = settings.width
        super().__init__(
            (
                PinSageConvolution(features if layer == 0 else width, width)
                for layer in range(settings.layers)
            ),
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width, bias=False)),
        )
        self.settings = settings


def random_walks(
    adjacency: Adjacency,
    starts: Numbers,
    length: int,
    rng: np.random.Generator,
    restart: float = 0.0,
) -> Numbers:
    """Return the nodes that walks visit, ``[s, length]``; -1 at nodes without neighbors.

    Args:
        adjacency: Row-normalized graph; each step is drawn from a row.
        starts: Start node of each walk, ``[s]``.
        length: Number of steps.
        rng: Random generator of the steps.
        restart: Probability that a step starts from the start node instead of the current one.
    """
    cumulative = adjacency.weights.cumsum(1)  # [N, K]
    visited = np.full((len(starts), length), -1, np.int64)
    place = starts.copy()
    for step in range(length):
        if step and restart:
            again = rng.random(len(place)) < restart
            place = np.where(again, starts, place)
        going = np.flatnonzero(adjacency.degrees[place] > 0)
        rows = cumulative[place[going]]
        drawn = rng.random(len(going))[:, None] * rows[:, -1:]
        column = (rows <= drawn).sum(1)
        # Rounding can move a draw past a row's end; it counts for the last neighbor.
        column = np.minimum(column, adjacency.degrees[place[going]] - 1)
        visited[going, step] = adjacency.neighbors[place[going], column]
        place[going] = visited[going, step]
    return visited


def visit_counts(
    adjacency: Adjacency, walks: int, length: int, restart: float, rng: np.random.Generator
) -> sp.csr_array:
    """Return the visit counts of walks from each node to each other node, ``[N, N]``, sparse."""
    nodes = len(adjacency)
    starts = np.repeat(np.arange(nodes), walks)
    visited = random_walks(adjacency, starts, length, rng, restart).ravel()
    sources = np.repeat(starts, length)
    kept = (visited >= 0) & (visited != sources)
    ones = np.ones(int(kept.sum()), np.float32)
    return sp.coo_array((ones, (sources[kept], visited[kept])), shape=(nodes, nodes)).tocsr()


def importance_neighborhoods(visits: sp.csr_array, most: int) -> Adjacency:
    """Return PinSage's graph: the most visited nodes of each node, weighted by visit counts."""
    source, target, weight = _top(visits, 0, most)
    return Adjacency.from_edges(visits.shape[0], source, target, weight)


def hard_negatives(
    visits: sp.csr_array, first: int, last: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Return the nodes at visit ranks ``first`` to ``last - 1``, ``[N, last - first]``.

    Missing ranks are filled with random nodes.
    """
    nodes = visits.shape[0]
    table = rng.integers(nodes, size=(nodes, last - first)).astype(np.int32)
    source, target, _ = _top(visits, first, last)
    _, starts, counts = np.unique(source, return_index=True, return_counts=True)
    columns = np.arange(len(source)) - np.repeat(starts, counts)
    table[source, columns] = target
    return table


def walk_pairs(
    adjacency: Adjacency, walks: int, length: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Return GraphSAGE's positives: pairs on a common short walk, with counts."""
    counts = visit_counts(adjacency, walks, length, 0.0, rng).tocoo()
    return pl.DataFrame(
        {"item": counts.row, "neighbor": counts.col, "weight": counts.data.astype(np.float64)},
        schema={"item": pl.Int32(), "neighbor": pl.Int32(), "weight": pl.Float64()},
    )


def _top(
    visits: sp.csr_array, first: int, last: int
) -> tuple[Numbers, Numbers, NDArray[np.float32]]:
    """Return the entries of each row at ranks ``first`` to ``last - 1``, most visited first."""
    rows = np.repeat(np.arange(visits.shape[0]), np.diff(visits.indptr))
    order = np.lexsort((visits.indices, -visits.data, rows))
    rank = np.arange(len(order)) - np.repeat(visits.indptr[:-1], np.diff(visits.indptr))
    kept = order[(rank >= first) & (rank < last)]
    return rows[kept], visits.indices[kept].astype(np.int64), visits.data[kept]
