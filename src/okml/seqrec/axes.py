"""Axes of a reduced matrix that the run's seed draws, and not the machine.

A truncated SVD makes two choices that mean nothing: within a group of equal singular values any
axes are right, and a cut through such a group takes any part of it. A library makes them by its
rounding, so they differ between machines, and a network that is trained on the coordinates differs
with them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes
from sklearn.utils.extmath import randomized_range_finder

POWER_ITERATIONS = 7  # each squares once more how small a weaker direction is beside the kept ones


def leading_axes(matrix: Any, width: int, seed: int) -> NDArray[np.float64]:
    """Return orthonormal axes ``[c, w]`` on which rows have most of their length.

    Subspace iteration from random directions (Halko et al., 2011) finds the span, and the axes
    within it are those that bring the rows nearest to random numbers (orthogonal Procrustes). Both
    are smooth functions of the numbers that the seed draws: other hardware, another library and
    other axes of the rows' own space change ``matrix @ axes`` by rounding alone.

    Args:
        matrix: Rows of any space, ``[r, c]``, sparse or not.
        width: Most axes; there are fewer if the rows span less.
        seed: Of the axes.
    """
    matrix = matrix.astype(np.float64)
    span = randomized_range_finder(
        matrix.T,
        size=min(width, *matrix.shape),
        n_iter=POWER_ITERATIONS,
        power_iteration_normalizer="QR",
        random_state=seed,
    )  # [c, w]
    left, lengths, turn = np.linalg.svd(matrix @ span, full_matrices=False)
    spanned = lengths > lengths[0] * max(matrix.shape) * np.finfo(np.float64).eps
    frame = np.random.default_rng(seed).normal(size=(len(left), spanned.sum()))
    rotation, _ = orthogonal_procrustes(left[:, spanned], frame)
    axes: NDArray[np.float64] = span @ turn[spanned].T @ rotation
    return axes
