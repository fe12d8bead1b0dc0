"""Exact ridge regression for many penalties and targets, its penalty chosen by leave-one-out.

The probe of Gurnee & Tegmark (2023), section 3.1: W = argmin |Y - A W|² + λ |W|², here with an
intercept and with targets standardized by their training mean and deviation, as in the authors'
code. One λ serves all columns of a target.

Leaving a row out needs no refit: the residual left out is the residual kept, divided by one minus
the row's leverage, (y_i - ŷ_i) / (1 - h_i). What the routes differ in is how they get both for all
λ from one decomposition of the centered features X [n, d]:

* ``eigh``: eigenvectors of XᵀX [d, d], for n > d;
* ``dual``: eigenvectors of XXᵀ [n, n], for n <= d;
* ``cholesky``: one factor of XᵀX + λI for each λ, for large d on a GPU, slow at eigenvectors.

Everything is float64: the smallest useful λ can be 1e-9 of the largest eigenvalue.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.accelerator import require_float64
from okml.errors import ParameterError
from okml.space_time.ridge_routes import Cholesky, Dual, Primal, Solver

Route = Literal["auto", "eigh", "dual", "cholesky"]
Preprocessing = Literal["rms", "raw"]
Features = Tensor | NDArray[Any]

RMS_EPSILON = 1e-6
LARGE_D = 2_048  # from here a GPU factors for every λ faster than it finds eigenvectors once


def as_float64(values: Features, device: torch.device | str | None = None) -> Tensor:
    """Return ``values`` as a float64 tensor, on its own device unless another is named.

    Raises:
        ResourceError: If the device has no float64.
    """
    if device is None and isinstance(values, torch.Tensor):
        device = values.device
    require_float64(torch.device(device or "cpu"), "Probes")
    if not isinstance(values, torch.Tensor):
        array = np.ascontiguousarray(values)
        # A memory map is read-only; torch wants to be sure that nobody writes through the tensor.
        values = torch.from_numpy(array if array.flags.writeable else array.copy())
    return values.to(device).to(torch.float64)  # few bytes travel, and the device widens them


def preprocess_rms(X: Features, device: torch.device | str | None = None) -> Tensor:
    """Divide each row of ``X`` [n, d] by its root mean square, in float64.

    A few rows whose last token is an attention sink are a hundred times as long as the rest; as
    they are, they decide the probe and its λ.
    """
    return over_rms(as_float64(X, device))


def over_rms(rows: Tensor) -> Tensor:
    """Return rows [n, d] divided by their root mean squares, in their type."""
    return rows / (rows.square().mean(dim=1, keepdim=True) + RMS_EPSILON).sqrt()


def preprocess(
    X: Features, how: Preprocessing = "rms", device: torch.device | str | None = None
) -> Tensor:
    """Prepare activations [n, d] for a probe: ``rms``, or ``raw`` as the paper uses them."""
    return preprocess_rms(X, device) if how == "rms" else as_float64(X, device)


@dataclass(frozen=True)
class LambdaGrid:
    """Penalties relative to the features: λ = scale · 10^k, scale the mean eigenvalue of XᵀX.

    The paper's fixed grid is too high for the first layers and too low for the last ones; this
    one moves with the spread of the rows around their mean, which differs from layer to layer.

    Attributes:
        exponents: Smallest and largest k.
        count: Number of evenly spaced k.
    """

    exponents: tuple[float, float] = (-6.0, 2.0)
    count: int = 22

    def values(self, scale: float) -> Tensor:
        """Return the penalties in growing order, [count]."""
        low, high = self.exponents
        return scale * torch.logspace(low, high, self.count, dtype=torch.float64)


Lambdas = LambdaGrid | Tensor | Sequence[float]


@dataclass(frozen=True)
class RidgeFit:
    """A fitted ridge regression in the units of features and targets.

    Attributes:
        coef: The coefficients, [d, t].
        intercept: The intercepts, [t].
        lam: The chosen λ.
        lambdas: All λ tried, [k].
        loo_mse: Leave-one-out mean squared error of the standardized targets for each λ, [k].
        interior: Whether the chosen λ lies inside the grid. At an edge, a better one may lie
            beyond it; targets that have nothing to do with the features end at the upper edge.
    """

    coef: Tensor
    intercept: Tensor
    lam: float
    lambdas: Tensor
    loo_mse: Tensor
    interior: bool

    @property
    def best_loo_mse(self) -> float:
        """Leave-one-out error of the chosen λ; 1 is what the mean of the targets gets."""
        return float(self.loo_mse.min())

    def predict(self, X: Features) -> Tensor:
        """Return the targets of features [n, d] as float64 [n, t], on the fit's device."""
        return as_float64(X, self.coef.device) @ self.coef + self.intercept


SOLVERS: dict[str, type[Primal] | type[Dual] | type[Cholesky]] = {
    "eigh": Primal,
    "dual": Dual,
    "cholesky": Cholesky,
}


@dataclass(frozen=True)
class RidgeSystem:
    """Training features, decomposed once; any number of targets can then be fitted to them.

    Attributes:
        mean: The mean of the training features, [d].
        scale: Mean eigenvalue of XᵀX, to which a ``LambdaGrid`` is relative.
        n: The number of training rows.
    """

    mean: Tensor
    scale: float
    solver: Solver
    n: int

    @classmethod
    def of(
        cls, X: Features, route: Route = "auto", device: torch.device | str | None = None
    ) -> RidgeSystem:
        """Decompose training features [n, d].

        Raises:
            ParameterError: If ``X`` is no finite matrix of at least three rows.
        """
        features = as_float64(X, device)
        if features.ndim != 2 or len(features) < 3:
            raise ParameterError(f"Features must be [n, d], n > 2, not {tuple(features.shape)}.")
        n, d = features.shape
        mean = features.mean(0)
        centered = features - mean
        length = float(torch.linalg.vector_norm(centered))
        if not math.isfinite(length):  # one pass; asking every value takes as long as solving
            raise ParameterError("Features must be finite.")
        # Constant features have no scale; rounding noise must not become one.
        noise = 10 * torch.finfo(torch.float64).eps * n**0.5 * float(torch.linalg.vector_norm(mean))
        scale = length**2 / d if length > noise else 1.0
        chosen = _pick_route(n, d, features.device) if route == "auto" else route
        return cls(mean, scale, SOLVERS[chosen].of(centered), n)

    def fit(self, Y: Features, lambdas: Lambdas | None = None) -> RidgeFit:
        """Fit targets [n, t] with the λ of the smallest leave-one-out error.

        Args:
            Y: Targets in any units; each column must vary.
            lambdas: The penalties to choose from; by default ``LambdaGrid()``.

        Raises:
            ParameterError: If targets do not fit the features or λ is not positive.
        """
        targets = as_float64(Y, self.mean.device)
        center, spread = _center_and_spread(targets, self.n)
        Z = (targets - center) / spread
        grid = self._grid(LambdaGrid() if lambdas is None else lambdas)
        errors = self.solver.loo_mse(Z, grid)
        best = int(errors.argmin())
        lam = float(grid[best])
        coef = self.solver.coef(Z, lam) * spread
        intercept = center - self.mean @ coef
        return RidgeFit(coef, intercept, lam, grid, errors, 0 < best < len(grid) - 1)

    def _grid(self, lambdas: Lambdas) -> Tensor:
        if isinstance(lambdas, LambdaGrid):
            grid = lambdas.values(self.scale)
        else:
            grid = torch.as_tensor(lambdas, dtype=torch.float64)
        if grid.ndim != 1 or not len(grid) or not bool((grid > 0).all()):
            raise ParameterError("λ must be a list of positive numbers.")
        return grid.to(self.mean.device)

    def principal(self, components: int) -> RidgeSystem:
        """Return the system whose features are the first principal components of these.

        The components are those of the training rows alone; the authors' code finds them on
        training and test rows together.

        Raises:
            ParameterError: If there are fewer, or the route was not ``eigh``.
        """
        solver = self.solver
        if not isinstance(solver, Primal) or not 0 < components <= len(solver.eigenvalues):
            raise ParameterError(
                f"{components} principal components cannot be taken from {len(self.mean)} features."
            )
        kept = slice(components)
        first = Primal(solver.eigenvalues[kept], solver.directions[:, kept], solver.scores[:, kept])
        scale = float(first.eigenvalues.mean())
        return RidgeSystem(self.mean, scale or 1.0, first, self.n)


def _pick_route(n: int, d: int, device: torch.device) -> Literal["eigh", "dual", "cholesky"]:
    if n <= d:
        return "dual"
    return "cholesky" if device.type != "cpu" and d > LARGE_D else "eigh"


def _center_and_spread(targets: Tensor, n: int) -> tuple[Tensor, Tensor]:
    if targets.ndim != 2 or len(targets) != n or not torch.isfinite(targets).all():
        raise ParameterError(f"Targets must be finite, [{n}, t], not {tuple(targets.shape)}.")
    spread = targets.std(0, correction=0)
    if not bool((spread > 0).all()):
        raise ParameterError("A target that is the same in every row cannot be probed.")
    return targets.mean(0), spread


def fit_ridge(
    X: Features,
    Y: Features,
    lambdas: Lambdas | None = None,
    route: Route = "auto",
    device: torch.device | str | None = None,
) -> RidgeFit:
    """Fit targets [n, t] to features [n, d]; see :class:`RidgeSystem` for several target matrices.

    Args:
        X: Training features, already preprocessed.
        Y: Training targets in their own units.
        lambdas: Penalties to choose from; by default ``LambdaGrid()``.
        route: The way to solve; the result is the same.
        device: The device that solves; by default that of ``X``.

    Raises:
        ParameterError: If shapes do not fit or a value is not finite.
    """
    return RidgeSystem.of(X, route, device).fit(Y, lambdas)
