"""The slope of validation curves, and when a training was still rising."""

from __future__ import annotations

import numpy as np
import pytest

from okml.seqrec.convergence import last_slope, still_rising
from tests.seqrec.curves import history


def test_a_line_has_its_own_slope():
    # 40 validations that rise by 0.001 each, and a tenth of the steps is four of them.
    assert last_slope(history([0.001 * n for n in range(40)])) == pytest.approx(0.004)


def test_three_validations_at_least_make_a_slope():
    # Of five validations the last third has two, so the last three count: 0.01 in two intervals
    # of 10 steps is 0.0025 in a tenth of 50.
    assert last_slope(history([0, 9, 0.1, 0.105, 0.11])) == pytest.approx(0.0025)
    assert last_slope(history([0.1, 0.2])) is None


def test_what_is_not_known_to_be_flat_was_still_rising():
    assert still_rising([history([0.1, 0.2])])
    assert not still_rising([history([0.1, 0.2], "early_stopping")])
    assert still_rising([history([0.1, 0.2], "early_stopping"), history([0.1, 0.2])])


@pytest.mark.parametrize(("rise", "expected"), [(0.9, False), (1.1, True)])
def test_a_hundredth_of_the_best_divides_flat_from_rising(rise, expected):
    # A rise of `rise` hundredths of the best, 1, in the last tenth of the steps.
    values = [1 - rise * 0.01 * (39 - n) / 4 for n in range(40)]
    assert still_rising([history(values)]) is expected
    assert not still_rising([history(values, "early_stopping")])


def test_the_mean_over_seeds_decides():
    rising, falling = ([1 + sign * 0.01 * n for n in range(40)] for sign in (1, -1))
    assert still_rising([history(rising)])
    assert not still_rising([history(rising), history(falling)])
    assert still_rising([history(rising)] * 2 + [history(falling)])


def test_noise_seldom_makes_a_flat_arm_rise():
    # Arms of three seeds with forty validations each, which differ by three per cent.
    noise = np.random.default_rng(0).normal(1, 0.03, (500, 3, 40))
    flagged = [still_rising([history(list(values)) for values in arm]) for arm in noise]
    assert np.mean(flagged) < 0.05
    # A line through the last tenth of one training takes it for a rise in a third of all cases.
    tenths = noise[:, 0, -4:] @ (np.arange(4) - 1.5) / 5 * 4
    assert np.mean(tenths > 0.01) > 0.3
