"""Sampled neighborhoods of a batch, for encoders of several hops.

PyG's ``NeighborLoader`` needs ``pyg-lib`` or ``torch-sparse``, which the package index lacks for
some platforms, and samples on the CPU. Rows of the graph are capped, so a sampler is a few tensor
operations on the device of the graph. Random numbers alone come from the CPU, so that every device
draws the same neighbors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from okml.accelerator import has_float64, upload
from okml.lightsage.adjacency import Adjacency
from okml.lightsage.network.encoder import MessageFlow


@dataclass(frozen=True)
class Sampled:
    """The input of an encoder for some nodes.

    Attributes:
        nodes: Nodes whose features are read, ``[n0]``; the first ones are the seeds.
        blocks: MessageFlow of each hop, the farthest first.
    """

    nodes: Tensor
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

    def sample(
        self, seeds: Tensor, rng: np.random.Generator, without: Tensor | None = None
    ) -> Sampled:
        """Draw the neighborhoods of distinct nodes.

        Args:
            seeds: Distinct nodes to embed, ``[n]``, on the device of the graph.
            rng: Random generator of the draws.
            without: Pairs of seeds by their places, ``[2, p]``, whose edges are removed in both
                directions, because they are the prediction targets.
        """
        nodes, blocks = seeds, []
        for fan_out in self.fan_outs:
            neighbors, weights = self.adjacency.padded(nodes)  # [n, K] each
            if without is not None:
                # The seeds are the first nodes of every hop.
                weights = weights * ~self._between(without, seeds, neighbors)
            neighbors, weights = _drawn(neighbors, weights, fan_out, rng)
            targets, columns = weights.nonzero(as_tuple=True)  # [e] each
            reached = neighbors[targets, columns].long()
            sources, local = self._numbered(nodes, reached)
            edge_index = torch.stack([local, targets])
            blocks.append(MessageFlow(edge_index, weights[targets, columns], len(nodes)))
            nodes = sources
        return Sampled(nodes, tuple(reversed(blocks)))

    def _between(self, pairs: Tensor, seeds: Tensor, neighbors: Tensor) -> Tensor:
        """Return where ``neighbors`` has the edge of a pair, in either direction, ``[n, K]``."""
        place = torch.cat([pairs[0], pairs[1]])  # [2p]
        other = seeds[torch.cat([pairs[1], pairs[0]])]
        found = (neighbors[place] == other.unsqueeze(1)).float()  # [2p, K]
        return torch.zeros(neighbors.shape, device=found.device).index_add(0, place, found) > 0

    def _numbered(self, nodes: Tensor, reached: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nodes of the next hop, the current ones first, and the places of ``reached``.

        New nodes follow in ascending order.
        """
        new = torch.zeros(len(self.adjacency), dtype=torch.bool, device=nodes.device)
        new[reached] = True
        new[nodes] = False
        sources = torch.cat([nodes, new.nonzero().squeeze(1)])
        place = torch.empty(len(self.adjacency), dtype=torch.int64, device=nodes.device)
        place[sources] = torch.arange(len(sources), device=nodes.device)
        return sources, place[reached]


def _drawn(
    neighbors: Tensor, weights: Tensor, fan_out: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return at most ``fan_out`` neighbors of each row, and weights that sum to 1 or 0."""
    if fan_out < weights.shape[1]:
        # The largest u^(1/w) are a weighted draw without replacement (Efraimidis and Spirakis,
        # 2006); padding has weight 0 and is drawn last.
        uniform = torch.from_numpy(rng.random(tuple(weights.shape))).to(_precise(weights.device))
        keys = upload(uniform, weights.device).log() / weights
        chosen = keys.topk(fan_out, dim=1).indices
        neighbors, weights = neighbors.gather(1, chosen), weights.gather(1, chosen)
    sums = weights.sum(1, keepdim=True)
    return neighbors, torch.where(sums > 0, weights / sums, 0)


def _precise(device: torch.device) -> torch.dtype:
    return torch.float64 if has_float64(device) else torch.float32
