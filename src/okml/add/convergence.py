"""Convergence: whether students still came nearer to real images when their trainings ended."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from okml.training import History

AVERAGED, PLAIN = "ema/fd", "fd"  # columns of the distance, of averaged weights and of plain ones
FITTED = 1 / 3  # share of the updates, at the end, to which a line is fitted
LEAST = 3  # distances that a line needs
TENTH = 0.1  # share of the updates over which the line's fall is stated
LEVEL = 0.03  # largest fall over a tenth of the updates, as a share of the distance


def distances(history: History) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the updates after which a student was measured, and its distances, both ``[v]``.

    The distance is that of the weights which the chapter judges: the averaged ones, where the
    training averages.
    """
    column = AVERAGED if AVERAGED in history.frame.columns else PLAIN
    if column not in history.frame.columns:
        return np.empty(0), np.empty(0)
    rows = history.frame.select("step", column).drop_nulls()
    return rows["step"].to_numpy().astype(float), rows[column].to_numpy().astype(float)


def last_fall(trainings: Sequence[History]) -> float | None:
    """Return by what share the distance of a method falls in a tenth of the updates at the end.

    It is the fall of a least-squares line through the last third of each training, over the
    distance there, both on average over the trainings. None: one of them was measured too seldom.

    Args:
        trainings: The histories of one method with different seeds.
    """
    fall, level = 0.0, 0.0
    for history in trainings:
        updates, values = distances(history)
        if len(updates) < LEAST:
            return None
        count = max(LEAST, int((updates > (1 - FITTED) * history.steps).sum()))
        slope = np.polyfit(updates[-count:], values[-count:], 1)[0]
        fall -= float(slope) * TENTH * history.steps
        level += float(values[-count:].mean())
    return fall / level


def still_falling_in_any(students: Sequence[Sequence[History]]) -> bool:
    """Tell whether the distance still fell when one of the rounds of a method ended.

    A round that ends too early leaves less to the next, which may be level all the same.

    Args:
        students: The histories of the rounds of each student, in order; one student for each seed.
    """
    return any(still_falling(trainings) for trainings in zip(*students, strict=True))


def still_falling(trainings: Sequence[History]) -> bool:
    """Tell whether the distance of a method still fell when its trainings ended.

    It is level if it falls by at most three hundredths in the last tenth of the updates, so that a
    tenth more of the training would change it by less than one seed differs from the next. A
    distance that rises counts as level: more of the training would bring such a student no nearer.

    Args:
        trainings: The histories of one method with different seeds.
    """
    fall = last_fall(trainings)
    return fall is None or fall > LEVEL  # without a curve nothing tells that it is level
