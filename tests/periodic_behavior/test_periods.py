import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.periodic_behavior.periods import Period, destabilizations, periods

LOSSES = st.lists(st.sampled_from([0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 9.0]), min_size=3,
                  max_size=25)  # fmt: skip


def by_hand(loss: list[float], jump: float) -> list[int]:
    """Return peaks above the lowest loss of either side, before a higher one, by a factor."""
    found = []
    for at in range(1, len(loss) - 1):
        end = at
        while end + 1 < len(loss) and loss[end + 1] == loss[at]:
            end += 1
        if loss[at - 1] >= loss[at] or end == len(loss) - 1 or loss[end + 1] >= loss[at]:
            continue
        left, right = at, end
        while left > 0 and loss[left - 1] <= loss[at]:
            left -= 1
        while right < len(loss) - 1 and loss[right + 1] <= loss[at]:
            right += 1
        base = max(min(loss[left : at + 1]), min(loss[at : right + 1]))
        if loss[at] >= jump * base * (1 - 1e-9):
            found.append((at + end) // 2)
    return found


@given(LOSSES, st.sampled_from([1.7, 3.0, 15.0]))
def test_peaks_are_those_of_the_definition(loss, jump):
    assert destabilizations(np.array(loss), jump).tolist() == by_hand(loss, jump)


def test_periods_lie_between_peaks_and_phases_inside():
    loss = np.array([2.0, 0.1, 1.5, 0.6, 0.1, 0.02, 0.03, 0.02, 0.3, 1.8, 0.7, 0.1])
    assert destabilizations(loss, 5).tolist() == [2, 9]
    assert periods(loss, 5) == [Period(peak=2, low=4, rise=8, next_peak=9)]
    assert periods(loss, 1000) == []


@pytest.mark.parametrize("loss", [np.geomspace(2, 1e-3, 50), np.full(9, 0.3)])
def test_a_loss_that_never_rises_has_none(loss):
    assert destabilizations(loss, 1.1).tolist() == []
