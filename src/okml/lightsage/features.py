"""Node features, and their means over neighbors, in memory or on disk.

With one linear hop, training reads only rows of ``X`` and of ``A X``. Both lie on the device of the
graph, or are memory-mapped half-precision files, so that features need not fit into memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from okml.errors import ParameterError
from okml.lightsage.adjacency import Adjacency, read_rows, row_blocks
from okml.paths import left_unfinished, unfinished

BLOCK_BYTES = 2**28  # size of the block of a table that is held at once in full precision


@dataclass(frozen=True, eq=False)
class HopFeatures:
    """The features ``X`` and their neighborhood means ``A X``.

    Attributes:
        own: Features X, ``[N, F]``, of any floating-point type; on the device of the graph, or a
            memory map.
        neighborhood: Neighborhood means A X, ``[N, F]``, of the same type and place.
        adjacency: Row-normalized graph A.
    """

    own: Tensor
    neighborhood: Tensor
    adjacency: Adjacency

    @property
    def device(self) -> torch.device:
        """Device of the rows that are read."""
        return self.adjacency.device

    def rows(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and neighborhood means of items, both float32 ``[b, F]``."""
        own, mean = (read_rows(table, ids, self.device) for table in (self.own, self.neighborhood))
        return own, mean

    def rows_without(self, ids: Tensor, left_out: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and neighborhood means without one neighbor of each item.

        For the mean ``n_i = sum_j A_ij x_j`` of a row that sums to 1, leaving j out gives exactly
        ``(n_i - A_ij x_j) / (1 - A_ij)``, and zero if j was the only neighbor.

        Args:
            ids: Item numbers, ``[b]``.
            left_out: Neighbor that each item loses, ``[b]``; an item that is no neighbor changes
                nothing.
        """
        own, mean = self.rows(ids)
        share = self.adjacency.entries(ids, left_out).unsqueeze(1)  # [b, 1]
        rest = 1 - share
        left = (mean - share * read_rows(self.own, left_out, self.device)) / rest
        return own, torch.where(rest > 1e-6, left, 0)


def hop_features(own: Tensor, adjacency: Adjacency, path: Path | None = None) -> HopFeatures:
    """Compute A X block by block.

    Args:
        own: Features X, ``[N, F]``.
        adjacency: Row-normalized graph A.
        path: File for A X in the type of X, written and then memory-mapped; None: in memory, in
            the place of X.

    Raises:
        ParameterError: If the numbers of items differ.
    """
    if len(own) != len(adjacency):
        raise ParameterError(f"Features of {len(own)} items and a graph of {len(adjacency)}.")
    if path is None:
        means = torch.empty_like(own)
        _fill(means, own, adjacency)
        return HopFeatures(own, means, adjacency)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several processes may write the same content at once, so the file is replaced atomically.
    for left in left_unfinished(path):
        left.unlink(missing_ok=True)
    draft = path.with_name(unfinished(path))
    dtype = own.new_empty(0).numpy().dtype
    out = np.lib.format.open_memmap(draft, "w+", dtype=dtype, shape=tuple(own.shape))
    _fill(torch.from_numpy(out), own, adjacency)
    out.flush()
    draft.replace(path)
    return HopFeatures(own, mapped(path), adjacency)


def mapped(path: Path) -> Tensor:
    """Return a file of NumPy as a tensor whose rows are read from disk when they are asked for."""
    # Copy-on-write, because torch has no read-only tensors; nobody writes to it.
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _fill(out: Tensor, own: Tensor, adjacency: Adjacency) -> None:
    """Write A X block by block."""
    for rows in row_blocks(len(own), max(1, BLOCK_BYTES // (4 * own.shape[1]))):
        out[rows] = adjacency.means(own, rows).to(out)
