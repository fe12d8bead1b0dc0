"""PinSage (Ying et al., 2018): importance pooling, two transforms per layer, two-layer head.

Its neighborhoods and hard negatives, and GraphSAGE's positives, come from short random walks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from okml.accelerator import upload
from okml.lightsage.adjacency import Adjacency
from okml.lightsage.network.encoder import Convolution, GraphEncoder
from okml.settings import BelowOne, Count, Depth, Settings, Whole, rule

WALK_BYTES = 2**28  # size of the walks that are counted at once
Numbers32 = NDArray[np.int32]


class PinSageSettings(Settings):
    """Sizes for thousands of items; the paper's are for billions."""

    layers: Depth = 2
    neighbors: Count = 10  # T; paper: 50
    walks: Count = 100  # walks that start at each node
    length: Count = 3
    restart: BelowOne = 0.5
    hard: Whole = 1  # hard negatives of a pair
    hard_first: Whole = 50  # ranks by visits; paper: 2000 to 5000
    hard_last: Count = 200

    _ranks = rule(
        lambda settings: settings.hard_first + settings.hard <= settings.hard_last,
        "ranks {hard_first} to {hard_last} have fewer than {hard} hard negatives",
    )
    # A node visits at most walks x length others; beyond that, every hard negative is a random one.
    _reached = rule(
        lambda settings: settings.hard_last <= settings.walks * settings.length,
        "{walks} walks of {length} steps cannot reach rank {hard_last}",
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
        width: Length d of the vectors and of inner layers.
    """

    def __init__(self, settings: PinSageSettings, features: int, width: int) -> None:
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
    starts: Tensor,
    length: int,
    rng: np.random.Generator,
    restart: float = 0.0,
) -> Tensor:
    """Return the nodes that walks visit, ``[s, length]``; -1 at nodes without neighbors.

    Args:
        adjacency: Row-normalized graph; each step is drawn from a row.
        starts: Start node of each walk, ``[s]``.
        length: Number of steps.
        rng: Random generator of the steps.
        restart: Probability that a step starts from the start node instead of the current one.
    """

    def uniform() -> Tensor:
        return upload(torch.from_numpy(rng.random(len(starts), np.float32)), adjacency.device)

    visited, place = [], starts
    for step in range(length):
        if step and restart:
            place = torch.where(uniform() < restart, starts, place)
        neighbors, weights = adjacency.padded(place)  # [s, K] each
        reached = weights.cumsum(1)  # [s, K]
        column = (reached <= uniform().unsqueeze(1) * reached[:, -1:]).sum(1, keepdim=True)
        # Rounding can move a draw past a row's end; it counts for the last neighbor.
        degrees = adjacency.degrees[place].unsqueeze(1)
        drawn = neighbors.gather(1, column.minimum(degrees - 1).clamp(min=0)).squeeze(1).long()
        going = degrees.squeeze(1) > 0
        visited.append(torch.where(going, drawn, -1))
        place = torch.where(going, drawn, place)
    return torch.stack(visited, 1)


@dataclass(frozen=True, eq=False)
class Visits:
    """How often walks from each node visit other nodes; most visited first, then by number.

    Attributes:
        source: Start node of each entry, ascending, int32 ``[v]``.
        target: Visited node, int32 ``[v]``.
        count: Number of visits, int32 ``[v]``.
        rank: Place of the entry among those of its start node, from 0, int32 ``[v]``.
    """

    source: Numbers32
    target: Numbers32
    count: Numbers32
    rank: Numbers32

    def at(self, first: int, last: int) -> Visits:
        """Return the entries at ranks ``first`` to ``last - 1``."""
        kept = (self.rank >= first) & (self.rank < last)
        return Visits(self.source[kept], self.target[kept], self.count[kept], self.rank[kept])


def visit_counts(
    adjacency: Adjacency,
    walks: int,
    length: int,
    restart: float,
    rng: np.random.Generator,
    most: int | None = None,
) -> Visits:
    """Count the visits of walks from each node to other nodes, a block of nodes at a time.

    Args:
        adjacency: Row-normalized graph; each step is drawn from a row.
        walks: Number of walks from each node.
        length: Number of steps of a walk.
        restart: Probability that a step starts from the start node again.
        rng: Random generator of the walks.
        most: Number of visited nodes to keep of each start node; None: all.
    """
    nodes, parts = len(adjacency), []
    # A walk's step holds a padded row of neighbors and weights.
    height = max(1, WALK_BYTES // (walks * 16 * max(1, adjacency.width, length)))
    for first in range(0, nodes, height):
        sources = torch.arange(first, min(first + height, nodes), device=adjacency.device)
        starts = sources.repeat_interleave(walks)
        visited = random_walks(adjacency, starts, length, rng, restart)  # [s, length]
        kept = (visited >= 0) & (visited != starts.unsqueeze(1))
        pairs = (starts.unsqueeze(1) * nodes + visited)[kept]
        pairs, counts = torch.unique(pairs, return_counts=True)  # sorted by source, then target
        order = counts.sort(descending=True, stable=True).indices
        order = order[(pairs[order] // nodes).sort(stable=True).indices]
        pairs, counts = pairs[order], counts[order]
        source = pairs // nodes
        rank = torch.arange(len(pairs), device=source.device)
        rank = rank - torch.searchsorted(source, source)  # the first entry of the source
        few = rank < (nodes if most is None else most)
        columns = (source, pairs % nodes, counts, rank)
        parts.append([column[few].int().cpu().numpy() for column in columns])
    return Visits(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def importance_neighborhoods(visits: Visits, nodes: int, most: int) -> Adjacency:
    """Return PinSage's graph: the most visited nodes of each node, weighted by visit counts."""
    near = visits.at(0, most)
    return Adjacency.from_edges(nodes, near.source, near.target, near.count.astype(np.float32))


def hard_negatives(
    visits: Visits,
    nodes: int,
    known: NDArray[np.integer],
    first: int,
    last: int,
    rng: np.random.Generator,
) -> Numbers32:
    """Return the nodes at visit ranks ``first`` to ``last - 1``, ``[N, last - first]``.

    Missing ranks are filled with random nodes of ``known``, node numbers ``[m]``.
    """
    table = rng.choice(known.astype(np.int32), size=(nodes, last - first))
    far = visits.at(first, last)
    table[far.source, far.rank - first] = far.target
    return table


def walk_pairs(
    adjacency: Adjacency, walks: int, length: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Return GraphSAGE's positives: pairs on a common short walk, with counts."""
    visits = visit_counts(adjacency, walks, length, 0.0, rng)
    columns = {"item": visits.source, "neighbor": visits.target, "weight": visits.count}
    return pl.DataFrame(columns, schema_overrides={"weight": pl.Float64()})
