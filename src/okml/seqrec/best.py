"""The best places of rows of scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def best_places(scores: NDArray[np.floating[Any]], count: int) -> NDArray[np.int64]:
    """Return the places of the highest scores of each row, best first, ``[r, count]``.

    Of equal scores the first stands before the others. ``np.argpartition`` would leave that to the
    instructions of the processor.

    Args:
        scores: ``[r, n]``, without NaN.
        count: At most n.
    """
    last = np.partition(scores, -count, axis=1)[:, -count, None]
    above, equal = scores > last, scores == last
    left = count - above.sum(1, keepdims=True)
    chosen = above | (equal & (equal.cumsum(1) <= left))
    places = np.nonzero(chosen)[1].reshape(len(scores), count)
    order = np.argsort(-np.take_along_axis(scores, places, 1), axis=1, kind="stable")
    return np.take_along_axis(places, order, 1)
