"""Whether the validation of a training was flat when it ended."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from okml.training import History

MONITOR = "ndcg@10"
LAST = 0.1  # share of the steps whose slope counts
LEAST = 3  # validations that a line needs
FLAT = 0.01  # rise over the last tenth of the steps, as a share of the best validation


def validations(history: History) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the steps of the validations of a training, and NDCG@10 at each, both ``[v]``."""
    rows = history.frame.select("step", MONITOR).drop_nulls()
    return rows["step"].to_numpy().astype(float), rows[MONITOR].to_numpy()


def last_slope(history: History) -> float | None:
    """Return how much NDCG@10 rose over the last tenth of the steps; None without a curve.

    It is the rise of the least-squares line through the validations in the last tenth, and at
    least the last three.
    """
    steps, values = validations(history)
    if len(steps) < LEAST:
        return None
    count = max(LEAST, int((steps >= (1 - LAST) * history.steps).sum()))
    slope = np.polyfit(steps[-count:], values[-count:], 1)[0]
    return float(slope * LAST * history.steps)


def still_rising(history: History) -> bool:
    """Tell whether a training reached its largest number of steps before validation was flat.

    Early stopping ends a training whose validation has had no new best for long. Else it is flat
    if it rose by at most a hundredth of its best over the last tenth of the steps.
    """
    if history.stopped_by == "early_stopping":
        return False
    slope = last_slope(history)
    return slope is None or slope > FLAT * float(validations(history)[1].max())
