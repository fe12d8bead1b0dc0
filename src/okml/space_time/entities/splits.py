"""Training and test sides.

The released files carry their split; these functions draw one for sets that are built anew.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

TEST_SHARE = 0.2  # of the paper, for every set


def uniform_split(n: int, seed: int, share: float = TEST_SHARE) -> npt.NDArray[np.bool_]:
    """Put ``floor(share * n)`` of ``n`` rows on the test side, at random.

    Returns:
        Which rows are for testing, ``[n]``.
    """
    is_test = np.zeros(n, dtype=bool)
    rng = np.random.default_rng(seed)
    is_test[rng.choice(n, int(n * share), replace=False)] = True
    return is_test


def group_split(groups: pl.Series, seed: int, share: float = TEST_SHARE) -> npt.NDArray[np.bool_]:
    """Put a ``share`` of the distinct ``groups`` with all their rows on the test side.

    The share is of groups, as in the paper; the share of rows comes close where groups are
    many and small. A null is no group and stays on the training side.

    Returns:
        Which rows are for testing, ``[n]``.
    """
    distinct = groups.drop_nulls().unique(maintain_order=True)
    chosen = distinct.filter(pl.Series(uniform_split(len(distinct), seed, share), dtype=pl.Boolean))
    return groups.is_in(chosen.implode()).fill_null(value=False).to_numpy()
