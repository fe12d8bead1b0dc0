"""The learning rate that is chosen, against values whose highest point is known."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.training.rates import TriedRates, search

RATES = (1.0, 0.25)
THREE = (0.25, 1.0, 4.0)


def hill(highest: float):
    """Return a value that is highest at a rate and falls to both sides, by octaves."""
    return lambda rate: 50 - abs(math.log2(rate / highest))


@pytest.mark.parametrize(
    ("first", "highest", "further", "tried", "bracketed"),
    [
        (RATES, 1.0, 1, (*RATES, 4.0), True),
        (RATES, 0.25, 1, (*RATES, 0.0625), True),
        (RATES, 4.0, 1, (*RATES, 4.0), False),  # one further rate is not enough
        (RATES, 4.0, 2, (*RATES, 4.0, 16.0), True),
        (RATES, 1.0, 0, RATES, False),  # of two rates the best is always at an end
        (THREE, 1.0, 2, THREE, True),
        (THREE, 4.0, 2, (*THREE, 16.0), True),
        (THREE, 16.0, 2, (*THREE, 16.0, 64.0), True),
        (THREE, 64.0, 2, (*THREE, 16.0, 64.0), False),
        (THREE, 0.25, 2, (*THREE, 0.0625), True),
        (THREE, 0.0625, 2, (*THREE, 0.0625, 0.015625), True),
    ],
)
def test_rates_beyond_an_end_are_tried_until_the_best_is_inside(
    first, highest, further, tried, bracketed
):
    found = search(first, further, hill(highest), untrained=0.0)
    assert tuple(found.values) == tried
    assert found.best == highest
    assert found.bracketed is bracketed


@pytest.mark.parametrize("sign", [1, -1], ids=["value", "distance"])
def test_no_smaller_rate_is_tried_than_one_that_changes_little(sign):
    """Three hundredths of 0.20 are 0.006: at a quarter training leaves 0.195, at one 0.15.

    A distance that is to be small is negated: from 0.20 it comes to 0.205, and at one to 0.25.
    """
    by_rate = {1.0: sign * 0.20 - 0.05, 0.25: sign * 0.20 - 0.005}
    found = search(RATES, 3, by_rate.__getitem__, untrained=sign * 0.20)
    assert (found.best, found.bracketed) == (0.25, True)
    moved = TriedRates(by_rate, untrained=sign * 0.20 + 0.05)
    assert moved.beyond == 0.0625
    assert not moved.bracketed


def test_rates_that_are_all_too_large_do_not_hide_a_smaller_one_that_helps():
    values = {4.0: -90, 1.0: -50, 0.25: -20, 0.0625: -2, 0.015625: -5}
    found = search(THREE, 2, values.__getitem__, untrained=-8.6)
    assert (found.best, found.bracketed) == (0.0625, True)


def test_a_single_rate_was_not_chosen():
    alone = search((1.0,), 2, hill(1.0), 0.0)
    assert (alone.best, alone.beyond, alone.bracketed) == (1.0, None, False)


def test_of_equal_rates_the_smallest_is_taken():
    assert TriedRates({4.0: 1.0, 1.0: 1.0, 0.25: 0.5}, 0.0).best == 1.0


@given(st.sampled_from([RATES, THREE]), st.floats(1e-3, 1e3), st.integers(0, 12))
def test_the_best_of_a_hill_is_bracketed_or_the_search_was_cut_off(first, highest, further):
    found = search(first, further, hill(highest), 0.0)
    ordered = sorted(found.values)
    assert all(b / a == pytest.approx(4) for a, b in pairwise(ordered))
    if found.bracketed:
        assert ordered[0] < found.best < ordered[-1]
        # On a hill what is inside is within one factor of the highest point.
        assert hill(highest)(found.best) >= 50 - math.log2(4)
    else:
        assert len(found.values) == len(first) + further
