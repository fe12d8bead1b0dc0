"""The row-normalized adjacency matrix in compressed rows, on the device that computes with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from okml.errors import ParameterError


@dataclass(frozen=True, eq=False)
class Adjacency:
    """The matrix ``A``, ``[N, N]``: row i has the neighbors of i and sums to 1, or to 0.

    It takes 8 bytes an entry and 4 a node.

    Attributes:
        starts: Offsets of the rows, int32 ``[N + 1]``: the entries of row i are
            ``starts[i]`` to ``starts[i + 1] - 1``.
        neighbors: Column numbers, row by row and ascending in each, int32 ``[E]``.
        weights: Entries, float32 ``[E]``.
    """

    starts: Tensor
    neighbors: Tensor
    weights: Tensor

    @classmethod
    def from_edges(
        cls,
        nodes: int,
        source: NDArray[np.integer],
        target: NDArray[np.integer],
        weight: NDArray[np.floating],
    ) -> Adjacency:
        """Normalize the rows of an edge list in which ``target`` is a neighbor of ``source``.

        The weights of repeated edges are summed; self-loops are dropped.

        Args:
            nodes: Number of nodes N.
            source: The node whose row an edge is in, ``[E]``.
            target: Its neighbor, ``[E]``.
            weight: The weight of the edge, ``[E]``.

        Raises:
            ParameterError: If a weight is not positive, a number is not that of a node, or there
                are more entries than 32-bit offsets can number.
        """
        if len(weight) and not (np.isfinite(weight).all() and weight.min() > 0):
            raise ParameterError("Edges need positive, finite weights.")
        if (
            len(source)
            and not 0 <= min(source.min(), target.min()) <= max(source.max(), target.max()) < nodes
        ):
            raise ParameterError(f"An edge leads to a node outside 0 to {nodes - 1}.")
        kept = source != target
        edges = (weight[kept], (source[kept], target[kept]))
        matrix = sp.coo_array(edges, shape=(nodes, nodes)).tocsr()
        matrix.sum_duplicates()
        if matrix.nnz >= 2**31:
            raise ParameterError(
                f"The graph has {matrix.nnz:,} entries, and one table holds at most {2**31 - 1:,}.",
                "Lower most_neighbors.",
            )
        sums = np.asarray(matrix.sum(1)).ravel()
        weights = matrix.data / np.repeat(sums, np.diff(matrix.indptr))
        return cls(
            torch.from_numpy(matrix.indptr.astype(np.int32)),
            torch.from_numpy(matrix.indices.astype(np.int32)),
            torch.from_numpy(weights.astype(np.float32)),
        )

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self.starts) - 1

    @property
    def device(self) -> torch.device:
        """Device of the tables."""
        return self.weights.device

    def to(self, device: torch.device) -> Adjacency:
        """Return the matrix on a device."""
        return Adjacency(*(part.to(device) for part in (self.starts, self.neighbors, self.weights)))

    @cached_property
    def degrees(self) -> Tensor:
        """Number of neighbors of each node, int32 ``[N]``."""
        return self.starts.diff()

    @property
    def isolated(self) -> Tensor:
        """Nodes without a neighbor, ``[N]``."""
        return self.degrees == 0

    @cached_property
    def width(self) -> int:
        """Largest number of neighbors K."""
        return int(self.degrees.max()) if len(self) else 0

    @property
    def csr(self) -> sp.csr_array:
        """``A`` as scipy's matrix, float32."""
        parts = (part.cpu().numpy() for part in (self.weights, self.neighbors, self.starts))
        return sp.csr_array(tuple(parts), shape=(len(self), len(self)))

    def padded(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the neighbors and weights of some nodes, ``[b, K]`` each, 0 where padded."""
        column = torch.arange(self.width, dtype=torch.int32, device=self.device)
        absent = column >= self.degrees[rows].unsqueeze(1)  # [b, K]
        place = (self.starts[rows].unsqueeze(1) + column).clamp_(max=len(self.weights) - 1)
        tables = (self.neighbors, self.weights)
        found = [table.index_select(0, place.view(-1)).view_as(place) for table in tables]
        neighbors, weights = (table.masked_fill_(absent, 0) for table in found)
        return neighbors, weights

    def entries(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return ``A[rows, columns]``, ``[b]``, by binary search in the rows."""
        if not len(self.weights):
            return torch.zeros(len(rows), device=self.device)
        low, end = self.starts[rows], self.starts[rows + 1]
        high = end
        for _ in range(self.width.bit_length()):
            middle = (low + high) // 2
            below = self.neighbors[middle.clamp(max=len(self.neighbors) - 1)] < columns
            unsettled = low < high
            low = torch.where(unsettled & below, middle + 1, low)
            high = torch.where(unsettled & ~below, middle, high)
        place = low.clamp(max=len(self.neighbors) - 1)
        return self.weights[place] * ((low < end) & (self.neighbors[place] == columns))

    def means(self, table: Tensor) -> Tensor:
        """Return ``A @ table``, the weighted means of neighbors' vectors, ``[N, F]``.

        Args:
            table: Vectors of all nodes, float32 ``[N, F]``, on the device of the matrix.
        """
        # Its memory is that of the result; a gather would hold a vector for each entry.
        means: Tensor = functional.embedding_bag(
            self.neighbors, table, self.starts, mode="sum", per_sample_weights=self.weights,
            include_last_offset=True,
        )  # fmt: skip
        return means
