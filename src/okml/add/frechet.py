"""The Fréchet distance of two sets of features, by the moments of each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from okml.errors import ParameterError


class Moments(NamedTuple):
    """Mean ``[d]`` and a root ``[k, d]`` of the covariance ``root.T @ root``, float64."""

    mean: Tensor
    root: Tensor


def moments(features: Tensor) -> Moments:
    """Return the moments of features ``[n, d]``.

    The root is the triangular factor of the centred features, so k is at most d.

    Raises:
        ParameterError: If there are fewer than two.
    """
    if len(features) < 2:
        raise ParameterError("A covariance needs at least two images.")
    features = features.double()
    mean = features.mean(0)
    _, root = torch.linalg.qr(features - mean, mode="r")
    return Moments(mean, root / (len(features) - 1) ** 0.5)


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)).

    With roots A and B of the covariances, the trace of (C_a C_b)^(1/2) is the sum of the singular
    values of A B^T. It takes a tenth of the time of the eigenvalues of C_a C_b, which is not
    symmetric, and rounding makes none of them negative or complex.
    """
    apart = (a.mean - b.mean).square().sum()
    spreads = a.root.square().sum() + b.root.square().sum()
    return float(apart + spreads - 2 * torch.linalg.svdvals(a.root @ b.root.T).sum())
