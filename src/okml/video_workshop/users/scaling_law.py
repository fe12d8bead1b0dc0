"""Power laws of loss in model size and data, fitted with their uncertainty; spec E7."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from okml.errors import ParameterError
from okml.seqrec.metrics import Floats

EXPONENTS = (0.1, 0.3, 1.0)  # initial exponents of the fits, of which the best one counts
FLATTEST, STEEPEST = 1e-4, 5.0  # bounds of the exponents


@dataclass(frozen=True)
class Term:
    """One power, ``size * (x / reference) ** -exponent``, that is ``(x_c / x) ** exponent``.

    Attributes:
        size: Value of the term at the reference.
        exponent: Positive exponent of the power law.
        reference: Geometric mean of the fitted points.
    """

    size: float
    exponent: float
    reference: float

    def at(self, x: Floats | float) -> Floats:
        """Return the term at ``x``."""
        found: Floats = self.size * (np.asarray(x) / self.reference) ** -self.exponent
        return found


@dataclass(frozen=True)
class Law:
    """``L = floor + sum of terms``.

    Attributes:
        floor: Irreducible loss, at least 0.
        terms: Terms of the law by the name of the size.
        aic: Akaike's information criterion with the small-sample correction, AICc (Hurvich and Tsai
            1989), for Gaussian errors; lower is better. Infinite if no degree of freedom is left.
    """

    floor: float
    terms: dict[str, Term]
    aic: float

    def predict(self, **sizes: Floats | float) -> Floats:
        """Return the loss at some sizes, one for each term."""
        return self.floor + sum(
            (term.at(sizes[name]) for name, term in self.terms.items()), np.zeros(())
        )

    def removed(self, growth: dict[str, float], **sizes: float) -> float:
        """Return the share of the reducible loss that growth removes.

        Args:
            growth: Growth factor by the name of the size.
            sizes: Initial value of each size.
        """
        grown = {name: size * growth.get(name, 1) for name, size in sizes.items()}
        above = self.predict(**sizes) - self.floor
        return float(1 - (self.predict(**grown) - self.floor) / above)


def fit_law(losses: Floats, sizes: Mapping[str, Floats], start: Law | None = None) -> Law:
    """Fit a law by least squares; without sizes, a constant.

    Args:
        losses: Losses in nats, ``[n]``.
        sizes: Positive values by the name of the size, ``[n]`` each.
        start: Law that initializes the fit, e.g. that of the original points of a bootstrap sample;
            None: several starts, of which the best fit counts.

    Raises:
        ParameterError: If there are fewer points than parameters.
    """
    n, parameters = len(losses), 1 + 2 * len(sizes)
    if n < parameters:
        raise ParameterError(f"{n} points cannot tell the {parameters} parameters of the law.")
    references = {name: float(np.exp(np.log(x).mean())) for name, x in sizes.items()}
    logs = np.stack([np.log(x / references[name]) for name, x in sizes.items()] or [np.zeros(n)])

    def terms_of(point: Floats) -> Floats:  # [terms, n]
        found: Floats = np.exp(point[1::2, None] - point[2::2, None] * logs[: len(sizes)])
        return found

    def residuals(point: Floats) -> Floats:
        found: Floats = point[0] + terms_of(point).sum(0) - losses
        return found

    def jacobian(point: Floats) -> Floats:
        terms = terms_of(point)
        pairs = np.stack([terms, -terms * logs[: len(sizes)]], axis=1).reshape(-1, n)
        return np.vstack([np.ones(n), pairs]).T

    count = len(sizes)
    bounds = ([0.0] + [-30.0, FLATTEST] * count, [np.inf] + [10.0, STEEPEST] * count)
    starts = _starts(losses, count) if start is None else [_point(start)]
    fits = [least_squares(residuals, point, jac=jacobian, bounds=bounds) for point in starts]
    best = min(fits, key=lambda fit: fit.cost)
    terms = {
        name: Term(float(np.exp(size)), float(exponent), references[name])
        for name, (size, exponent) in zip(sizes, best.x[1:].reshape(-1, 2), strict=True)
    }
    return Law(float(best.x[0]), terms, _criterion(2 * float(best.cost), n, parameters))


def _criterion(squares: float, n: int, parameters: int) -> float:
    free = n - parameters - 1
    if free < 1:
        return float("inf")
    penalty = 2 * parameters + 2 * parameters * (parameters + 1) / free
    return float(n * np.log(max(squares, 1e-300) / n) + penalty)


def _starts(losses: Floats, terms: int) -> list[list[float]]:
    """Return initial parameters: two floors below the losses for each of three exponents."""
    spread = float(np.ptp(losses)) + 1e-9
    return [
        [max(float(losses.min()) - share * spread, 1e-9)] + [np.log(spread), exponent] * terms
        for exponent in EXPONENTS
        for share in (0.1, 1.0)
    ]


def _point(law: Law) -> list[float]:
    """Return the parameters of a law, clipped to their bounds."""
    of_terms = [
        value
        for term in law.terms.values()
        for value in (np.log(max(term.size, 1e-12)), np.clip(term.exponent, 2e-4, 0.99 * STEEPEST))
    ]
    return [max(law.floor, 1e-9), *of_terms]
