"""The rate that is chosen, against distances whose lowest point is known."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.add.rates import Tried, search

RATES = (0.25, 1.0, 4.0)
FAR = 1e6  # distance of a student that has learned nothing


def valley(lowest: float):
    """Return a distance that is lowest at a rate and rises to both sides, by octaves."""
    return lambda rate: 1 + abs(math.log2(rate / lowest))


@pytest.mark.parametrize(
    ("lowest", "tried", "bracketed"),
    [
        (1.0, RATES, True),
        (4.0, (*RATES, 16.0), True),
        (16.0, (*RATES, 16.0, 64.0), True),
        (64.0, (*RATES, 16.0, 64.0), False),  # two further rates are not enough
        (0.25, (*RATES, 0.0625), True),
        (0.0625, (*RATES, 0.0625, 0.015625), True),
    ],
)
def test_rates_beyond_an_end_are_tried_until_the_best_is_inside(lowest, tried, bracketed):
    found = search(RATES, 2, valley(lowest), FAR)
    assert tuple(found.distances) == tried
    assert found.best == lowest
    assert found.bracketed is bracketed


def test_no_smaller_rate_is_tried_than_one_that_leaves_the_student_untrained():
    def harm(rate):
        return 8.6 + 4 * rate

    # At a quarter it is 9.6, at a sixteenth 8.85: within three hundredths of 8.6.
    found = search(RATES, 2, harm, untrained=8.6)
    assert tuple(found.distances) == (*RATES, 0.0625)
    assert found.best == 0.0625
    assert found.bracketed
    assert not search(RATES, 0, harm, untrained=8.6).bracketed


def test_rates_that_are_all_too_large_do_not_hide_a_smaller_one_that_helps():
    def distance(rate):
        return {4.0: 90, 1.0: 50, 0.25: 20, 0.0625: 2, 0.015625: 5}[rate]

    found = search(RATES, 2, distance, untrained=8.6)
    assert (found.best, found.bracketed) == (0.0625, True)


def test_a_single_rate_was_not_chosen():
    alone = search((1.0,), 2, valley(1.0), FAR)
    assert (alone.best, alone.beyond, alone.bracketed) == (1.0, None, False)


def test_of_equal_rates_the_smallest_is_taken():
    assert Tried({4.0: 1.0, 1.0: 1.0, 0.25: 2.0}, FAR).best == 1.0


@given(st.floats(1e-3, 1e3), st.integers(0, 12))
def test_the_best_of_a_valley_is_bracketed_or_the_search_was_cut_off(lowest, further):
    distance, found = valley(lowest), search(RATES, further, valley(lowest), FAR)
    ordered = sorted(found.distances)
    assert all(b / a == pytest.approx(4) for a, b in pairwise(ordered))
    if found.bracketed:
        assert ordered[0] < found.best < ordered[-1]
        # In a valley what is inside is within one factor of the lowest point.
        assert distance(found.best) <= 1 + math.log2(4)
    else:
        assert len(found.distances) == len(RATES) + further
