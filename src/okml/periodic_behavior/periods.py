"""Destabilizations and periods of a training, from its loss by epoch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Period(NamedTuple):
    """The epochs from one destabilization to the next.

    The paper tells three phases apart, A, B and C; their limits here are ours. In A the loss falls
    from the last peak, in B it is low, in C it rises to the next peak.

    Epochs are numbers from 0 on.

    Attributes:
        peak: The epoch of the first peak, where A begins.
        low: The first epoch within a factor of the lowest loss, where B begins.
        rise: The epoch after the last of these, where C begins.
        next_peak: The epoch of the next peak, where C ends.
    """

    peak: int
    low: int
    rise: int
    next_peak: int


def destabilizations(loss: Floats, jump: float) -> Ints:
    """Return the epochs at which the loss peaks after a jump.

    A peak counts if the loss rises to it, and falls after it, by the factor ``jump`` before any
    higher peak: it is the topographic prominence of log loss, at least log ``jump``.

    Args:
        loss: The mean training loss of each epoch, positive, ``[epochs]``.
        jump: The factor, above 1.
    """
    return np.asarray(find_peaks(np.log(loss), prominence=np.log(jump))[0], dtype=np.int64)


def periods(loss: Floats, jump: float) -> list[Period]:
    """Return the whole periods of a training, with the limits of their phases.

    Args:
        loss: The mean training loss of each epoch, positive, ``[epochs]``.
        jump: The factor of :func:`destabilizations`, above 1.
    """
    peaks = destabilizations(loss, jump)
    found = []
    for peak, after in zip(peaks[:-1].tolist(), peaks[1:].tolist(), strict=True):
        inside = loss[peak : after + 1]
        low = np.flatnonzero(inside <= jump * inside.min())
        found.append(Period(peak, peak + int(low[0]), peak + int(low[-1]) + 1, after))
    return found
