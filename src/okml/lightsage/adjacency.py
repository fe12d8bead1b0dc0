"""The row-normalized adjacency matrix, in rows padded to one length."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from okml.errors import ParameterError

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Adjacency:
    """The matrix ``A``, ``[N, N]``: row i has the neighbors of i and sums to 1, or to 0.

    The graph has at most K neighbors per row, so a padded table costs little more than the edges,
    and the neighbors of many nodes are read by one indexing operation.

    Attributes:
        neighbors: Column numbers, ``[N, K]``; 0 where padded.
        weights: Entries, ``[N, K]``; 0 where padded.
    """

    neighbors: Ids
    weights: Floats

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

        Raises:
            ParameterError: If a weight is not positive or a number is not that of a node.
        """
        if len(weight) and not (np.isfinite(weight).all() and weight.min() > 0):
            raise ParameterError("Edges need positive, finite weights.")
        if (
            len(source)
            and not 0 <= min(source.min(), target.min()) <= max(source.max(), target.max()) < nodes
        ):
            raise ParameterError(f"An edge leads to a node outside 0 to {nodes - 1}.")
        kept = source != target
        shape = (nodes, nodes)
        edges = (weight[kept], (source[kept], target[kept]))
        return cls.from_csr(sp.coo_array(edges, shape=shape).tocsr())

    @classmethod
    def from_csr(cls, matrix: sp.csr_array) -> Adjacency:
        """Normalize the rows of a matrix of positive weights."""
        matrix.sum_duplicates()
        degrees = np.diff(matrix.indptr)
        nodes, width = len(degrees), max(1, int(degrees.max(initial=0)))
        rows = np.repeat(np.arange(nodes), degrees)
        columns = np.arange(len(rows)) - np.repeat(matrix.indptr[:-1], degrees)
        neighbors = np.zeros((nodes, width), np.int32)
        weights = np.zeros((nodes, width), np.float32)
        neighbors[rows, columns] = matrix.indices
        sums = np.asarray(matrix.sum(1)).ravel()
        weights[rows, columns] = matrix.data / sums[rows]
        return cls(neighbors, weights)

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self.neighbors)

    @cached_property
    def degrees(self) -> NDArray[np.int64]:
        """Number of neighbors of each node, ``[N]``."""
        counts: NDArray[np.int64] = np.count_nonzero(self.weights, axis=1)
        return counts

    @property
    def isolated(self) -> NDArray[np.bool_]:
        """Nodes without a neighbor, ``[N]``."""
        return np.asarray(self.degrees == 0)

    @cached_property
    def csr(self) -> sp.csr_array:
        """``A`` as a sparse matrix, float32."""
        present = self.weights > 0
        pointers = np.concatenate([[0], np.cumsum(self.degrees)])
        data = (self.weights[present], self.neighbors[present], pointers)
        return sp.csr_array(data, shape=(len(self), len(self)))

    def entries(self, rows: NDArray[np.integer], columns: NDArray[np.integer]) -> Floats:
        """Return ``A[rows, columns]``, ``[b]``."""
        match = self.neighbors[rows] == columns[:, None]  # [b, K]
        found: Floats = (match * self.weights[rows]).sum(1, dtype=np.float32)
        return found
