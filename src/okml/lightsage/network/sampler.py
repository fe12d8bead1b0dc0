"""Sampled neighborhoods of a batch, for encoders of several hops.

PyG's ``NeighborLoader`` needs ``pyg-lib`` or ``torch-sparse``, which the package index lacks for
some platforms. Rows of the graph are capped, so a sampler is a few array operations on the padded
table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from okml.lightsage.adjacency import Adjacency
from okml.lightsage.network.encoder import MessageFlow

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Sampled:
    """The input of an encoder for some nodes.

    Attributes:
        nodes: Nodes whose features are read, ``[n0]``; the first ones are the seeds.
        blocks: MessageFlow of each hop, the farthest first.
    """

    nodes: Numbers
    blocks: tuple[MessageFlow, ...]


class NeighborSampler:
    """Samples neighbors of each node by weight, without replacement.

    Args:
        fan_outs: Number of neighbors to draw at each hop, from the seeds outward. Nodes with fewer
            keep all; the weights of drawn neighbors are scaled to sum to 1.
    """

    def __init__(self, adjacency: Adjacency, fan_outs: Sequence[int]) -> None:
        self.adjacency = adjacency
        self.fan_outs = tuple(fan_outs)
        self._local = np.full(len(adjacency), -1, np.int64)  # place of a node in the batch

    def sample(
        self, seeds: Numbers, rng: np.random.Generator, without: NDArray[np.integer] | None = None
    ) -> Sampled:
        """Draw the neighborhoods of distinct nodes.

        Args:
            seeds: Distinct nodes to embed, ``[n]``.
            rng: Random generator of the draws.
            without: Pairs ``[2, p]`` whose edges are removed in both directions, because they are
                the prediction targets.
        """
        hidden = None if without is None else self._codes(*without)
        nodes, blocks = seeds, []
        for fan_out in self.fan_outs:
            targets, place, weight = self._draw(nodes, fan_out, rng, hidden)
            sources = self._extend(nodes, place)
            edge_index = np.stack([self._local[place], targets])
            self._local[sources] = -1
            block = MessageFlow(torch.from_numpy(edge_index), torch.from_numpy(weight), len(nodes))
            blocks.append(block)
            nodes = sources
        return Sampled(nodes, tuple(reversed(blocks)))

    def _draw(
        self, nodes: Numbers, fan_out: int, rng: np.random.Generator, hidden: Numbers | None
    ) -> tuple[Numbers, Numbers, NDArray[np.float32]]:
        """Return the target's local number, the neighbor and the weight of each drawn edge."""
        neighbors = self.adjacency.neighbors[nodes].astype(np.int64)  # [n, K]
        weights = self.adjacency.weights[nodes]  # [n, K]
        if hidden is not None:
            codes = nodes[:, None] * len(self.adjacency) + neighbors
            weights = np.where(np.isin(codes, hidden), 0, weights)
        if fan_out < weights.shape[1]:
            # The largest u^(1/w) are a weighted draw without replacement (Efraimidis and
            # Spirakis, 2006); padding has weight 0 and is drawn last.
            with np.errstate(divide="ignore"):
                keys = np.log(rng.random(weights.shape)) / weights
            chosen = np.argpartition(-keys, fan_out - 1, axis=1)[:, :fan_out]
            neighbors = np.take_along_axis(neighbors, chosen, 1)
            weights = np.take_along_axis(weights, chosen, 1)
        sums = weights.sum(1, keepdims=True)
        weights = np.divide(weights, sums, out=np.zeros_like(weights), where=sums > 0)
        targets, columns = np.nonzero(weights)
        return targets, neighbors[targets, columns], weights[targets, columns].astype(np.float32)

    def _extend(self, nodes: Numbers, reached: Numbers) -> Numbers:
        """Number the nodes of the next hop: the current ones first, then the new ones."""
        self._local[nodes] = np.arange(len(nodes))
        new = np.unique(reached[self._local[reached] < 0])
        self._local[new] = np.arange(len(nodes), len(nodes) + len(new))
        return np.concatenate([nodes, new])

    def _codes(self, item: NDArray[np.integer], neighbor: NDArray[np.integer]) -> Numbers:
        i, j, n = item.astype(np.int64), neighbor.astype(np.int64), len(self.adjacency)
        return np.unique(np.concatenate([i * n + j, j * n + i]))
