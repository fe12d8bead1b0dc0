"""Node features in memory or on disk, and their means over neighbors.

With one linear hop, training reads only rows of ``X`` and of ``A X``. Both can be memory-mapped
half-precision files, so features need not fit into memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from okml.errors import ParameterError
from okml.lightsage.adjacency import Adjacency, Floats
from okml.paths import left_unfinished, unfinished

BLOCK_BYTES = 2**28  # size of the block of a product that is held at once


@dataclass(frozen=True, eq=False)
class HopFeatures:
    """The features ``X`` and their neighborhood means ``A X``.

    Attributes:
        own: Features X, ``[N, F]``; an array or a memory map of any floating-point type.
        neighborhood: Neighborhood means A X, ``[N, F]``.
        adjacency: Row-normalized graph A.
    """

    own: NDArray[np.floating]
    neighborhood: NDArray[np.floating]
    adjacency: Adjacency

    def rows(self, ids: NDArray[np.integer]) -> tuple[Floats, Floats]:
        """Return features and neighborhood means of items, both ``[b, F]``."""
        return _rows(self.own, ids), _rows(self.neighborhood, ids)

    def rows_without(
        self, ids: NDArray[np.integer], left_out: NDArray[np.integer]
    ) -> tuple[Floats, Floats]:
        """Return features and neighborhood means without one neighbor of each item.

        For the mean ``n_i = sum_j A_ij x_j`` of a row that sums to 1, leaving j out gives exactly
        ``(n_i - A_ij x_j) / (1 - A_ij)``, and zero if j was the only neighbor.

        Args:
            ids: Item numbers, ``[b]``.
            left_out: Neighbor that each item loses, ``[b]``; an item that is no neighbor changes
                nothing.
        """
        own, mean = self.rows(ids)
        share = self.adjacency.entries(ids, left_out)[:, None]  # [b, 1]
        rest = 1 - share
        left = np.divide(
            mean - share * _rows(self.own, left_out), rest, out=np.zeros_like(mean),
            where=rest > 1e-6,
        )  # fmt: skip
        return own, left


def hop_features(
    own: NDArray[np.floating], adjacency: Adjacency, path: Path | None = None
) -> HopFeatures:
    """Compute A X block by block.

    Args:
        own: Features X, ``[N, F]``.
        adjacency: Row-normalized graph A.
        path: File for A X in the type of X, written and then memory-mapped; None: in memory.

    Raises:
        ParameterError: If the numbers of items differ.
    """
    if len(own) != len(adjacency):
        raise ParameterError(f"Features of {len(own)} items and a graph of {len(adjacency)}.")
    if path is None:
        out: NDArray[np.floating] = np.empty(own.shape, own.dtype)
        _fill(out, own, adjacency)
        return HopFeatures(own, out, adjacency)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several processes may write the same content at once, so the file is replaced atomically.
    for left in left_unfinished(path):
        left.unlink(missing_ok=True)
    draft = path.with_name(unfinished(path))
    out = np.lib.format.open_memmap(draft, "w+", dtype=own.dtype, shape=own.shape)
    _fill(out, own, adjacency)
    out.flush()
    draft.replace(path)
    return HopFeatures(own, np.load(path, mmap_mode="r"), adjacency)


def _fill(out: NDArray[np.floating], own: NDArray[np.floating], adjacency: Adjacency) -> None:
    """Write A X block by block."""
    width = adjacency.neighbors.shape[1]
    height = max(1, BLOCK_BYTES // (4 * own.shape[1] * width))
    for start in range(0, len(own), height):
        rows = slice(start, start + height)
        neighbors = _rows(own, adjacency.neighbors[rows])  # [b, K, F]
        out[rows] = np.einsum("bk,bkf->bf", adjacency.weights[rows], neighbors)


def _rows(table: NDArray[np.floating], ids: NDArray[np.integer]) -> Floats:
    return np.asarray(table[ids], np.float32)
