"""What the figures say, against rows that are counted by hand."""

import math

import polars as pl
import pytest

from okml.periodic_behavior.dynamics import equilibrium_angle
from okml.periodic_behavior.experiments import AWAY, PHASES
from okml.periodic_behavior.figures import (
    draw_norm_errors,
    draw_norms,
    draw_presumptions,
    draw_spheres,
)


def course(arm, relative):
    """Return epochs of an arm whose steps turn by these multiples of the equilibrium's angle."""
    equilibrium = equilibrium_angle(0.2, 0.03)
    angles = [equilibrium * each for each in relative]
    frame = pl.DataFrame({"epoch": range(len(angles)), "angle": angles})
    return frame.with_columns(arm=pl.lit(arm), rate=pl.lit(0.2), decay=pl.lit(0.03))


def test_the_figure_of_the_angle_counts_epochs_near_the_equilibrium():
    inside, outside = [0.99 * AWAY, 1 / (0.99 * AWAY)], [1.01 * AWAY, 1 / (1.01 * AWAY), 20.0]
    frame = pl.concat([course("invariant", inside + 2 * outside), course("all_weights", inside)])
    assert draw_presumptions(frame).alt.endswith("weights: 25; all weights: 100.")


def test_the_figure_of_the_norm_tells_the_middle_period_and_the_largest_growth():
    rows = [(4.0, 3.0, 2.0, 1.5, True), (8.0, 5.0, 1.0, 7.25, True), (5.0, 4.0, 3.0, None, True),
            (9.0, 9.0, 9.0, 99.0, False)]  # fmt: skip
    columns = ("norm at A", "norm at B", "norm at C", "growth", "late")
    alt = draw_norms(pl.DataFrame(rows, schema=columns, orient="row")).alt
    assert "each of 3 periods" in alt
    assert alt.endswith("medians: A 5.00, B 4.00, C 2.00; the largest growth is 7.25.")


def test_the_figure_of_the_equation_tells_the_errors_of_each_network():
    errors = {"scale-invariant": [0.0002, 0.0001, 0.0004], "plain": [3.0, 0.5, 1.0]}
    alt = draw_norm_errors(pl.DataFrame(errors)).alt
    assert alt.endswith(": scale-invariant 0.00010 to 0.00040; plain 0.50000 to 3.00000.")


@pytest.mark.parametrize("growth", [[], [None]])
def test_the_figure_of_the_norm_is_drawn_of_no_and_of_one_period(growth):
    row = {name: [math.e] * len(growth) for name, _ in PHASES[5:8]}
    schema = dict(PHASES[5:])
    row |= {"growth": growth, "late": [True] * len(growth)}
    assert "growth is" not in draw_norms(pl.DataFrame(row, schema)).alt


def test_the_figure_of_spheres_tells_medians_by_factor():
    columns = ("held", "factor", "seed", "angle", "in 1000 epochs", "median loss")
    rows = [
        ("layers", 1.0, 0, 0.1, 0.0, 0.001), ("layers", 1.0, 1, 0.3, 0.0, 0.003),
        ("layers", 0.5, 0, 0.5, 4.0, 1.5), ("layers", 0.5, 1, 0.5, 6.0, 1.7),
        ("total", 1.0, 0, 0.2, 1.0, 0.01),
    ]  # fmt: skip
    alt = draw_spheres(pl.DataFrame(rows, schema=columns, orient="row")).alt
    assert "each layer's norm held, factor 0.5: angle 0.5, loss 1.6, 5.0; " in alt
    assert "each layer's norm held, factor 1: angle 0.2, loss 0.002, 0.0; " in alt
    assert alt.endswith("norm of all layers together held, factor 1: angle 0.2, loss 0.01, 1.0.")
