"""The convolution of LightSAGE, and of GraphSAGE, on PyG's message passing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing


class Convolution(MessagePassing):  # type: ignore[misc]
    """``[h || A h] W + b``, optionally with GraphSAGE's activation and normalization.

    PyG's ``SAGEConv`` has no edge weights; here messages are weighted by the entries of the
    row-normalized ``A``.

    Args:
        inputs: Dimension of ``h``.
        outputs: Dimension of the result.
        own: Whether a node's own vector is concatenated with its neighborhood.
        activation: Whether to apply a ReLU.
        normalize: Whether to scale each result to length 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        own: bool = True,
        activation: bool = False,
        normalize: bool = False,
    ) -> None:
        super().__init__(aggr="add")
        self.own = own
        self.activation = activation
        self.normalize = normalize
        self.linear = nn.Linear(2 * inputs if own else inputs, outputs)

    def forward(self, h: Tensor, edge_index: Tensor, weight: Tensor, targets: int) -> Tensor:
        """Return new vectors of the first ``targets`` nodes, ``[targets, outputs]``.

        Args:
            h: Vectors of all nodes, the targets first, ``[n, inputs]``.
            edge_index: Local numbers of sources and of targets, ``[2, e]``.
            weight: Entries of ``A``, ``[e]``.
            targets: Number of targets.
        """
        own = h[:targets]
        given = (self.before(h), None)
        neighborhood = self.propagate(edge_index, x=given, weight=weight, size=(len(h), targets))
        return self.combine(own, neighborhood)

    def before(self, h: Tensor) -> Tensor:
        """Return the vectors that neighbors send, ``[n, inputs]``: here ``h`` itself."""
        return h

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        """Return the message of each edge, ``[e, inputs]``."""
        return weight.unsqueeze(-1) * x_j

    def combine(self, own: Tensor, neighborhood: Tensor) -> Tensor:
        """Return new vectors from own ones and weighted means of neighbors, ``[n, outputs]``."""
        read = torch.cat([own, neighborhood], -1) if self.own else neighborhood
        h: Tensor = self.linear(read)
        if self.activation:
            h = h.relu()
        return nn.functional.normalize(h, dim=-1) if self.normalize else h
