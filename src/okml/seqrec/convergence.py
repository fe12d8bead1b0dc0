"""Convergence: whether validation was flat when the trainings of an arm ended."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from okml.training import History

MONITOR = "ndcg@10"
FITTED = 1 / 3  # share of the steps, at the end, to which a line is fitted
LEAST = 3  # validations that a line needs
TENTH = 0.1  # share of the steps over which the line's rise is stated
FLAT = 0.01  # largest rise over a tenth of the steps, as a share of the best validation


def validations(history: History) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the steps of the validations of a training, and NDCG@10 at each, both ``[v]``."""
    rows = history.frame.select("step", MONITOR).drop_nulls()
    return rows["step"].to_numpy().astype(float), rows[MONITOR].to_numpy()


def last_slope(history: History) -> float | None:
    """Return how much NDCG@10 rises in a tenth of the steps at the end; None without a curve.

    It is the rise of the least-squares line through the validations in the last third, and at
    least the last three. A line through the last tenth alone would be noise: validations of 1,800
    users differ by three per cent from one to the next. As curves bend down, the longer line makes
    the rise too large rather than too small.
    """
    steps, values = validations(history)
    if len(steps) < LEAST:
        return None
    count = max(LEAST, int((steps > (1 - FITTED) * history.steps).sum()))
    slope = np.polyfit(steps[-count:], values[-count:], 1)[0]
    return float(slope * TENTH * history.steps)


def still_rising(trainings: Sequence[History]) -> bool:
    """Tell whether the trainings of an arm ended before validation was flat.

    It is flat if, on average over the trainings, it rose by at most a hundredth of its best in the
    last tenth of the steps. The rise of a training that early stopping ended counts as zero, since
    it had had no new best for long.

    Args:
        trainings: The histories of one arm with different seeds.
    """
    slopes = []
    for history in trainings:
        slope = 0.0 if history.stopped_by == "early_stopping" else last_slope(history)
        if slope is None:
            return True  # nothing tells that it is flat
        slopes.append(slope)
    best = [validations(history)[1].max() for history in trainings]
    return bool(sum(slopes) > FLAT * sum(best))
