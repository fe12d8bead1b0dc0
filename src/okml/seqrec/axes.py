"""Dimensionality reduction whose axes depend on the run's seed and not on the machine.

A truncated SVD makes two arbitrary choices: the singular vectors of equal singular values are
unique only up to a rotation, and a truncation within such a group takes an arbitrary part of it.
Rounding decides them, so they differ between machines, and so does a network that is trained on
the coordinates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes
from sklearn.utils.extmath import randomized_range_finder

POWER_ITERATIONS = 7  # each multiplies the ratio of weaker to kept singular values by its square


def leading_axes(matrix: Any, width: int, seed: int) -> NDArray[np.float64]:
    """Return orthonormal axes ``[c, w]`` of the leading right singular subspace of a matrix.

    Subspace iteration from random directions (Halko et al., 2011) finds the subspace; the axes
    within it bring the rows nearest to random numbers (orthogonal Procrustes). Both are smooth
    functions of the seed's random numbers: other hardware, another library and a rotation of the
    rows' space change ``matrix @ axes`` by rounding alone.

    Args:
        matrix: A dense or sparse matrix, ``[r, c]``.
        width: The largest number of axes; the rank of the matrix if that is smaller.
        seed: The seed of the random directions and of the rotation.
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
