"""Shuffling that a control needs: what the catalog says of an item stays, the rest is broken."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shuffled_within(key: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a random order of places, ``[n]``, that keeps the key of each: ``key[order] == key``.

    Args:
        key: Of each place, such as its item's category and type, ``[n]``.
        rng: What draws.
    """
    order = np.empty(len(key), np.int64)
    order[np.argsort(key, kind="stable")] = np.lexsort((rng.random(len(key)), key))
    return order
