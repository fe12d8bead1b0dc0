"""The law of scaling: known exponents come back, and a constant is preferred where it is true."""

from __future__ import annotations

import numpy as np
import pytest

from okml.errors import ParameterError
from okml.video_workshop.users.scaling_law import Law, Term, fit_law

SIZES = np.repeat(np.array([1e3, 4e3, 2e4, 1e5, 6e5, 3e6]), 4)
DATA = np.tile(np.array([1e4, 3e4, 1e5, 4e5]), 6)


def losses(noise=0.0, floor=2.0, a=0.4, b=0.25):
    clean = floor + (5e3 / SIZES) ** a + (2e4 / DATA) ** b
    return clean + noise * np.random.default_rng(0).standard_normal(len(clean))


@pytest.mark.parametrize(("noise", "tolerance"), [(0.0, 1e-3), (0.002, 0.1)])
def test_known_exponents_come_back(noise, tolerance):
    law = fit_law(losses(noise), {"parameters": SIZES, "data": DATA})
    assert law.terms["parameters"].exponent == pytest.approx(0.4, rel=tolerance)
    assert law.terms["data"].exponent == pytest.approx(0.25, rel=2.5 * tolerance)
    assert law.floor == pytest.approx(2, rel=2.5 * tolerance)
    assert law.predict(parameters=1e4, data=1e5) == pytest.approx(
        2 + 0.5**0.4 + 0.2**0.25, abs=0.01
    )


def test_one_term_and_a_constant():
    clean = 1 + (5e3 / SIZES) ** 0.4
    law = fit_law(clean, {"parameters": SIZES})
    assert law.terms["parameters"].exponent == pytest.approx(0.4, rel=1e-3)
    noisy = 3 + 0.01 * np.random.default_rng(1).standard_normal(len(SIZES))
    constant = fit_law(noisy, {})
    assert constant.floor == pytest.approx(noisy.mean())
    assert constant.aic < fit_law(noisy, {"parameters": SIZES}).aic
    assert fit_law(clean, {"parameters": SIZES}).aic < fit_law(clean, {}).aic


def test_what_growth_removes():
    law = Law(1.0, {"parameters": Term(0.5, 0.5, 100.0), "data": Term(0.5, 1.0, 10.0)}, 0.0)
    # At the references 1 above the floor; 100 times the parameters leave 0.05 of their 0.5.
    removed = law.removed({"parameters": 100, "data": 5}, parameters=100.0, data=10.0)
    assert removed == pytest.approx(1 - (0.05 + 0.1))


def test_too_few_points():
    with pytest.raises(ParameterError, match="cannot tell"):
        fit_law(np.array([1.0, 2.0]), {"parameters": np.array([1.0, 2.0])})
