"""Shuffling within keys, for controls that keep items' categories and types."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shuffled_within(key: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a random permutation, ``[n]``, that keeps keys: ``key[order] == key``.

    Args:
        key: Key of each position, such as its item's category and type, ``[n]``.
        rng: Random generator of the permutation.
    """
    order = np.empty(len(key), np.int64)
    order[np.argsort(key, kind="stable")] = np.lexsort((rng.random(len(key)), key))
    return order
