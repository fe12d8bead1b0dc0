"""The cluster bootstrap of means over rows by users, for the refits of fitted curves.

For intervals of the means themselves see :mod:`okml.ledger.intervals`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from okml.errors import ParameterError
from okml.seqrec.metrics import Floats

BLOCK = 2**24  # number of counts held in memory at a time


def resampled_means(
    values: Floats, users: NDArray[np.integer], resamples: int = 1_000, seed: int = 0
) -> Floats:
    """Return bootstrap means over rows with resampled users, ``[resamples, m]``.

    A resample draws as many users as there are, with replacement, each with all rows. A user who
    is drawn ``c`` times adds ``c`` times the sums and row counts, so rows are never copied.

    Args:
        values: The values of the rows, ``[r, m]``: metrics, or one metric of several models on
            the same rows, whose resampled means are then paired.
        users: The user of each row, ``[r]``.
        resamples: The number of resamples.
        seed: The seed of the draws.

    Raises:
        ParameterError: If there are fewer than two users, or values and users do not match.
    """
    unique, code = np.unique(users, return_inverse=True)
    count = len(unique)
    if count < 2 or len(users) != len(values):
        raise ParameterError(
            f"{len(values):,} rows of {count:,} users ({len(users):,} given) cannot be resampled."
        )
    # Sums and number of rows of each user, [u, m + 1].
    columns = [np.bincount(code, weights=column) for column in values.T]
    totals = np.stack([*columns, np.bincount(code).astype(np.float64)], axis=1)
    rng = np.random.default_rng(seed)
    sums = []
    height = max(1, BLOCK // count)
    for start in range(0, resamples, height):
        drawn = [
            np.bincount(rng.integers(count, size=count), minlength=count)
            for _ in range(start, min(start + height, resamples))
        ]
        sums.append(np.stack(drawn).astype(np.float64) @ totals)
    resampled = np.concatenate(sums)  # [resamples, m + 1]
    return resampled[:, :-1] / resampled[:, -1:]
