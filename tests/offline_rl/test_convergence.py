"""The rise of a validation over the last tenth of a training."""

import pytest

from okml.offline_rl.convergence import last_rise


@pytest.mark.parametrize(
    ("values", "rise"),
    [
        ([0.2], 1.0),  # it rose from nothing
        ([0.1, 0.2], 0.5),
        ([0.1] * 10, 0.0),
        ([0.4] * 9 + [0.2], -0.5),
        # Two of twenty are a tenth: the mean of 3 and 5, less that of 1 and 2, over 5.
        ([0.0] * 16 + [1.0, 2.0, 3.0, 5.0], 0.5),
    ],
)
def test_the_rise_by_hand(values, rise):
    assert last_rise(values) == pytest.approx(rise)
