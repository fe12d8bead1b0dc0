"""Node features, and their means over neighbors.

With one linear hop, training reads only rows of ``X`` and of ``A X``, which are computed once and
lie on the device of the graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from okml.errors import ParameterError
from okml.lightsage.adjacency import Adjacency


@dataclass(frozen=True, eq=False)
class HopFeatures:
    """The features ``X`` and their neighborhood means ``A X``, on the device of the graph.

    Attributes:
        own: Features X, float32 ``[N, F]``.
        neighborhood: Neighborhood means A X, float32 ``[N, F]``.
        adjacency: Row-normalized graph A.
    """

    own: Tensor
    neighborhood: Tensor
    adjacency: Adjacency

    def rows(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and neighborhood means of items, ``[b, F]`` each."""
        return self.own[ids], self.neighborhood[ids]

    def rows_without(self, ids: Tensor, left_out: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and neighborhood means without one neighbor of each item.

        For the mean ``n_i = sum_j A_ij x_j`` of a row that sums to 1, leaving j out gives exactly
        ``(n_i - A_ij x_j) / (1 - A_ij)``, and zero if j was the only neighbor.

        Args:
            ids: Item numbers, ``[b]``.
            left_out: Neighbor that each item loses, ``[b]``; an item that is no neighbor changes
                nothing.
        """
        own, mean = self.rows(ids)  # [b, F] each
        share = self.adjacency.entries(ids, left_out).unsqueeze(1)  # [b, 1]
        rest = 1 - share
        left = (mean - share * self.own[left_out]) / rest
        return own, torch.where(rest > 1e-6, left, 0)


def hop_features(own: Tensor, adjacency: Adjacency) -> HopFeatures:
    """Return features X, float32 ``[N, F]``, with A X.

    Raises:
        ParameterError: If the numbers of items differ.
    """
    if len(own) != len(adjacency):
        raise ParameterError(f"Features of {len(own)} items and a graph of {len(adjacency)}.")
    return HopFeatures(own, adjacency.means(own), adjacency)


def diffused(features: Tensor, adjacency: Adjacency, powers: int) -> Tensor:
    """Return ``[X || A X || ... || A^K X]``, ``[N, (K + 1) F]``, the input of SIGN.

    SIGN (Frasca et al., 2020, equation 3) reads features that the graph has spread before the
    training, and then a network without a graph; the predicted edge stays in.

    Args:
        features: Features X, ``[N, F]``, on the device of the graph.
        adjacency: Row-normalized graph A.
        powers: Largest power K.
    """
    tables = [features]
    for _ in range(powers):
        tables.append(adjacency.means(tables[-1]))
    return torch.cat(tables, 1) if powers else features
