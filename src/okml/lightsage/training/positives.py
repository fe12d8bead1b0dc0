"""The positive pairs of an encoder's training, and their sampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.errors import DataError

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Positives:
    """Directed edges (i, j): transitions from i to j.

    Attributes:
        item: Item i of each edge, ``[e]``.
        neighbor: Item j of each edge, ``[e]``.
        cumulative: Cumulative probabilities, ``[e]``; the last one is 1.
        target_share: Probability q that an item is drawn as j, ``[N]``, which sums to 1.
    """

    item: Numbers
    neighbor: Numbers
    cumulative: NDArray[np.float64]
    target_share: NDArray[np.float64]

    @classmethod
    def of(cls, directed: pl.DataFrame, items: int, power: float = 1.0) -> Positives:
        """Return positives whose probability is proportional to the weight to a power.

        Args:
            directed: Directed edges with the columns ``item``, ``neighbor``, ``weight``.
            items: Number of items N.
            power: Exponent of the weight; smaller values favor rare pairs.

        Raises:
            DataError: If there is no edge.
        """
        if directed.is_empty():
            raise DataError("The graph has no edges, so there is nothing to learn from.")
        share = directed["weight"].to_numpy().astype(np.float64) ** power
        share = share / share.sum()
        neighbor = directed["neighbor"].to_numpy().astype(np.int64)
        cumulative = np.cumsum(share)
        cumulative[-1] = 1.0  # exact despite rounding
        return cls(
            directed["item"].to_numpy().astype(np.int64),
            neighbor,
            cumulative,
            np.asarray(np.bincount(neighbor, weights=share, minlength=items), np.float64),
        )

    def __len__(self) -> int:
        """Return the number of edges."""
        return len(self.item)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
        """Draw pairs with replacement, ``[count]`` each."""
        edges = np.searchsorted(self.cumulative, rng.random(count), side="right")
        return self.item[edges], self.neighbor[edges]
