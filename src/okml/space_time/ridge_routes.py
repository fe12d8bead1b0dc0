"""Three ways to leave-one-out errors and coefficients of ridge for many λ at once.

All take centered features X [n, d] and centered targets Z [n, t].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from okml.errors import ParameterError

ROWS_AT_A_TIME = 1_024  # a slice of the scores stays in cache


class Solver(Protocol):
    """Leave-one-out errors and coefficients for centered features and targets Z [n, t]."""

    def loo_mse(self, Z: Tensor, lambdas: Tensor) -> Tensor:
        """Return the mean squared leave-one-out error of each λ, [k]."""
        ...

    def coef(self, Z: Tensor, lam: float) -> Tensor:
        """Return the coefficients for one λ, [d, t]."""
        ...


@dataclass(frozen=True)
class Primal:
    """XᵀX = V Λ Vᵀ with scores P = X V; any subset of eigenvectors gives principal components."""

    eigenvalues: Tensor  # [r], falling
    directions: Tensor  # [d, r]
    scores: Tensor  # [n, r]

    @classmethod
    def of(cls, X: Tensor) -> Primal:
        """Decompose centered features [n, d]."""
        eigenvalues, directions = eigenvectors(gram_matrix(X))
        directions = directions.flip(1)
        return cls(eigenvalues.flip(0).clamp_min(0), directions, product(X, directions))

    def loo_mse(self, Z: Tensor, lambdas: Tensor) -> Tensor:
        """Return the mean squared leave-one-out error of each λ, [k]."""
        n, t = Z.shape
        weights = 1 / (self.eigenvalues[:, None] + lambdas)  # [r, k]
        loadings = self.scores.T @ Z  # [r, t]
        per_lambda = (loadings[:, :, None] * weights[:, None, :]).flatten(1)  # [r, t k]
        total = torch.zeros_like(lambdas)
        for P, z in zip(
            torch.split(self.scores, ROWS_AT_A_TIME), torch.split(Z, ROWS_AT_A_TIME), strict=True
        ):
            fitted = product(P, per_lambda).view(len(P), t, -1)  # [b, t, k]
            leverage = 1 / n + product(P.square(), weights)  # [b, k]
            total += ((z[:, :, None] - fitted) / (1 - leverage)[:, None]).square().sum((0, 1))
        return total / (n * t)

    def coef(self, Z: Tensor, lam: float) -> Tensor:
        """Return the coefficients for one λ, [d, t]."""
        loadings = self.scores.T @ Z / (self.eigenvalues + lam)[:, None]
        return self.directions @ loadings


@dataclass(frozen=True)
class Dual:
    """XXᵀ = U S Uᵀ. Residuals are summed directly: their difference from Z would cancel."""

    X: Tensor  # [n, d]
    eigenvalues: Tensor  # [n]
    vectors: Tensor  # [n, n]

    @classmethod
    def of(cls, X: Tensor) -> Dual:
        """Decompose centered features [n, d]."""
        eigenvalues, vectors = eigenvectors(gram_matrix(X.T))
        return cls(X, eigenvalues.clamp_min(0), vectors)

    def loo_mse(self, Z: Tensor, lambdas: Tensor) -> Tensor:
        """Return the mean squared leave-one-out error of each λ, [k]."""
        n, t = Z.shape
        left = lambdas / (self.eigenvalues[:, None] + lambdas)  # [n, k]
        loadings = self.vectors.T @ Z  # [n, t]
        per_lambda = (loadings[:, :, None] * left[:, None, :]).flatten(1)
        residual = (self.vectors @ per_lambda).view(n, t, -1)  # [n, t, k]
        one_minus_leverage = self.vectors.square() @ left - 1 / n  # [n, k]
        return (residual / one_minus_leverage[:, None]).square().mean((0, 1))

    def coef(self, Z: Tensor, lam: float) -> Tensor:
        """Return the coefficients for one λ, [d, t]."""
        weights = 1 / (self.eigenvalues + lam)
        return self.X.T @ (self.vectors @ (weights[:, None] * (self.vectors.T @ Z)))


@dataclass(frozen=True)
class Cholesky:
    """XᵀX + λI = L Lᵀ, so that the leverage of a row is |L⁻¹ x|²."""

    X: Tensor  # [n, d]
    gram: Tensor  # [d, d]
    # λ and factor of the smallest error so far, so that its coefficients need no other one
    best: list[tuple[float, Tensor]] = field(default_factory=list)

    @classmethod
    def of(cls, X: Tensor) -> Cholesky:
        """Decompose centered features [n, d]."""
        return cls(X, gram_matrix(X))

    def loo_mse(self, Z: Tensor, lambdas: Tensor) -> Tensor:
        """Return the mean squared leave-one-out error of each λ, [k]."""
        n = len(Z)
        moment = self.X.T @ Z
        errors = []
        for lam in lambdas.tolist():
            factor = cholesky_of_sum(self.gram, lam)
            fitted = self.X @ torch.cholesky_solve(moment, factor)  # [n, t]
            whitened = torch.linalg.solve_triangular(factor, self.X.T, upper=False)  # [d, n]
            leverage = 1 / n + whitened.square().sum(0)[:, None]  # [n, 1]
            errors.append(((Z - fitted) / (1 - leverage)).square().mean())
            if errors[-1] <= min(errors):
                self.best[:] = [(lam, factor)]
        return torch.stack(errors)

    def coef(self, Z: Tensor, lam: float) -> Tensor:
        """Return the coefficients for one λ, [d, t]."""
        known = [factor for tried, factor in self.best if tried == lam]
        factor = known[0] if known else cholesky_of_sum(self.gram, lam)
        return torch.cholesky_solve(self.X.T @ Z, factor)


# On a CPU by NumPy: it knows that a Gram matrix is symmetric and computes half of it, and its BLAS
# finds eigenvectors faster than torch's.


def gram_matrix(X: Tensor) -> Tensor:
    """Return XᵀX, [d, d]."""
    if X.device.type == "cpu":
        rows = X.numpy()
        return torch.from_numpy(rows.T @ rows)
    return X.T @ X


def product(X: Tensor, Y: Tensor) -> Tensor:
    """Return the product of [m, k] and [k, n], which numpy computes on a CPU."""
    if X.device.type == "cpu":
        return torch.from_numpy(X.numpy() @ Y.numpy())
    return X @ Y


def eigenvectors(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Return the growing eigenvalues [d] of a symmetric matrix and its eigenvectors [d, d]."""
    if gram.device.type == "cpu":
        values, vectors = np.linalg.eigh(gram.numpy())
        return torch.from_numpy(values), torch.from_numpy(vectors)
    return torch.linalg.eigh(gram)  # type: ignore[no-any-return]


def cholesky_of_sum(gram: Tensor, lam: float) -> Tensor:
    """Return the lower Cholesky factor of ``gram`` + ``lam`` I, [d, d].

    Raises:
        ParameterError: If λ is so small that the sum is not positive definite in float64.
    """
    shifted = gram.clone()
    shifted.diagonal().add_(lam)
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(shifted)
    if failed.any():
        raise ParameterError(
            f"The features are too nearly dependent for λ = {lam:.3g}.", "Use larger λ."
        )
    return factor
