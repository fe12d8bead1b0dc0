"""The item graph that models are trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ItemGraph:
    """The graph A: at most K neighbors of each item, with weights that sum to 1.

    Attributes:
        items: Number of items N.
        offsets: Start of each item's entries, int64 ``[N + 1]``: item i has the entries
            ``offsets[i]`` to ``offsets[i + 1]``.
        neighbors: Neighbor of each entry, int32 ``[e]``.
        weights: Weight of each entry, float32 ``[e]``; a row sums to 1, or has no entries.
        parts: Number of the kind of edge in ``part_names``, uint8 ``[e]``: the kind with the
            highest priority if several have the pair.
        part_names: Merged kinds of edges, in order of priority.
        directed: Merge of the directed edges before symmetrization; a pair is drawn as a positive
            in proportion to its ``weight``.
    """

    items: int
    offsets: NDArray[np.int64]
    neighbors: NDArray[np.int32]
    weights: NDArray[np.float32]
    parts: NDArray[np.uint8]
    part_names: tuple[str, ...]
    directed: pl.DataFrame

    def __len__(self) -> int:
        """Return the number of entries of A."""
        return len(self.neighbors)

    @property
    def degrees(self) -> NDArray[np.int64]:
        """Number of neighbors of each item, ``[N]``."""
        return np.diff(self.offsets)

    @property
    def isolated(self) -> NDArray[np.bool_]:
        """Whether an item has no neighbors, ``[N]``."""
        return np.asarray(self.degrees == 0)

    def rows(self) -> NDArray[np.int32]:
        """Return the item of each entry, ``[e]``."""
        return np.repeat(np.arange(self.items, dtype=np.int32), self.degrees)

    def matrix(self) -> sp.csr_array:
        """Return A as a sparse array, ``[N, N]``, float32."""
        return sp.csr_array(
            (self.weights, self.neighbors, self.offsets), shape=(self.items, self.items)
        )

    def frame(self) -> pl.DataFrame:
        """Return A as an edge frame with the column ``part`` (String)."""
        names = np.array(self.part_names or ("",))
        return pl.DataFrame(
            {
                "item": self.rows(),
                "neighbor": self.neighbors,
                "weight": self.weights.astype(np.float64),
                "part": names[self.parts],
            }
        )
