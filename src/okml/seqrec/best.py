"""The indices of the highest scores of each row, with deterministic ties."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def best_places(scores: NDArray[np.floating[Any]], count: int) -> NDArray[np.int64]:
    """Return the column indices of the highest scores of each row, best first, ``[r, count]``.

    Ties are broken by the lower index. With ``np.argpartition`` they would depend on the
    instruction set of the processor.

    Args:
        scores: The scores, ``[r, n]``, without NaN.
        count: The number of indices of each row, at most n.
    """
    last = np.partition(scores, -count, axis=1)[:, -count, None]
    above, equal = scores > last, scores == last
    left = count - above.sum(1, keepdims=True)
    chosen = above | (equal & (equal.cumsum(1) <= left))
    places = np.nonzero(chosen)[1].reshape(len(scores), count)
    order = np.argsort(-np.take_along_axis(scores, places, 1), axis=1, kind="stable")
    return np.take_along_axis(places, order, 1)
