"""Item features that several data sets share."""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from okml.seqrec.axes import leading_axes


def standardized(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Give each column of ``[N, F]`` mean 0 and standard deviation 1; constant ones become 0."""
    centered = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    spread = centered.std(axis=0)
    scaled = np.divide(centered, spread, out=np.zeros_like(centered), where=spread > 1e-12)
    return np.asarray(scaled, dtype=np.float32)


def of_visits(log: pl.DataFrame, items: int, size: int, seed: int) -> NDArray[np.float32]:
    """Return item vectors from co-visits: the training log on its leading axes.

    They replace pre-trained embeddings in data sets without item attributes. Users and items are
    scaled by the root of their degrees, as in normalized cuts. Such a matrix has a singular value
    of one for each connected component of the log.

    Args:
        log: Cleaned log of the training period.
        items: Number of items N. Items without events get zeros.
        size: Number of features F, at most the number of users or items.
        seed: Random seed of the axes.

    Returns:
        Vectors, float32 ``[N, F]``, not standardized.
    """
    pairs = log.select("user", "item").unique(maintain_order=True)
    user = (pairs["user"].rank("dense") - 1).to_numpy().astype(np.int64)
    item = pairs["item"].to_numpy()
    of_user, of_item = np.bincount(user), np.bincount(item, minlength=items)
    values = 1 / np.sqrt(of_user[user].astype(np.float64) * of_item[item])
    visits = sp.csr_array((values, (item, user)), shape=(items, len(of_user)))
    return np.asarray(visits @ leading_axes(visits, size, seed), dtype=np.float32)


def hashed_words(titles: pl.Series, buckets: int) -> NDArray[np.float32]:
    """Return signed counts of hashed words, ``[N, buckets]``; a missing title has no words.

    The hash is that of the bytes, so it is the same on all platforms.
    """
    rows = np.zeros((len(titles), buckets), np.float32)
    for row, title in enumerate(titles.to_list()):
        for word in (title or "").lower().split():
            number = _fnv(word.encode())
            rows[row, number % buckets] += 1.0 if number >> 32 & 1 else -1.0
    return rows


def _fnv(text: bytes) -> int:
    """Return the 64-bit FNV-1a hash."""
    number = 0xCBF29CE484222325
    for byte in text:
        number = (number ^ byte) * 0x100000001B3 % 2**64
    return number
