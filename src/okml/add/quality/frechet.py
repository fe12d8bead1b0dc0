"""The Fréchet distance between two sets of features (Heusel et al., 2017)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from okml.errors import ParameterError


class Gaussian(NamedTuple):
    """Mean ``[d]`` and covariance ``[d, d]`` of features, float64."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


def gaussian(features: Tensor) -> Gaussian:
    """Return the moments of features ``[n, d]``.

    Raises:
        ParameterError: If there are fewer than two.
    """
    if len(features) < 2:
        raise ParameterError("A covariance needs at least two images.")
    values = features.double().cpu().numpy()
    return Gaussian(values.mean(0), np.cov(values, rowvar=False).reshape(values.shape[1], -1))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Return |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)).

    The trace of the root is the sum of the square roots of the eigenvalues of C_a C_b, which are
    real and not negative but for rounding.
    """
    eigenvalues = np.linalg.eigvals(a.covariance @ b.covariance).real
    root = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    apart = ((a.mean - b.mean) ** 2).sum()
    return float(apart + np.trace(a.covariance) + np.trace(b.covariance) - 2 * root)
