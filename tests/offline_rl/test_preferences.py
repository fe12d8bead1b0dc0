"""Sessions that part at a step: their returns against arithmetic, and critics that are right."""

from __future__ import annotations

import numpy as np
import pytest

from okml.offline_rl.experiments.preferences import introductions_seen, parted
from okml.offline_rl.simulator import (
    CLUSTER_ITEMS,
    CLUSTERS,
    FIRST_IN_CLUSTER,
    LEAVE_CORE,
    LEAVE_INTRO,
    LEAVE_OUTSIDE,
    LONGEST,
    PURCHASE,
    PURCHASE_OUTSIDE,
    draw_core,
    simulate,
)

GAMMA, COUNT = 0.9, 40_000


def always_core(visitors, history, rng):
    """Show core items of the first item's cluster."""
    return draw_core(history[:, 0] // CLUSTER_ITEMS, rng), np.ones(len(history))


def value(chance, leave, actions):
    """Return the discounted reward of some core items, one after the other."""
    reward = 0.2 + 0.8 * chance
    return reward * sum((GAMMA * (1 - leave)) ** number for number in range(actions))


def expected_gain(step):
    """Return the gain of a first introduction at a step, if all other actions are core items."""
    left = LONGEST - 1 - step  # actions after this one
    own = (
        0.2 + GAMMA * (1 - LEAVE_INTRO) * value(PURCHASE[1], LEAVE_CORE, left)
        - value(PURCHASE[0], LEAVE_CORE, left + 1)
    )  # fmt: skip
    outside = 0.2 + GAMMA * (1 - LEAVE_OUTSIDE) * value(PURCHASE_OUTSIDE, LEAVE_OUTSIDE, left)
    outside -= value(PURCHASE_OUTSIDE, LEAVE_OUTSIDE, left + 1)
    # The first item may be of the visitor's cluster by chance, too; those outside leave sooner.
    inside = FIRST_IN_CLUSTER + (1 - FIRST_IN_CLUSTER) / CLUSTERS
    weights = (
        inside * (1 - LEAVE_CORE) ** (step - 1),
        (1 - inside) * (1 - LEAVE_OUTSIDE) ** (step - 1),
    )
    return np.average([own, outside], weights=weights)


@pytest.mark.parametrize("step", [1, 4])
def test_the_gain_of_an_introduction_is_what_arithmetic_says(step):
    ways = [
        simulate(parted(always_core, step, 0, introduction=shown), COUNT, np.random.default_rng(0))
        for shown in (True, False)
    ]
    np.testing.assert_array_equal(ways[0].items[:, :step], ways[1].items[:, :step])
    here = ways[0].items[:, step] >= 0
    returns = [way.returns(GAMMA, first=step) for way in ways]
    gains = (returns[0] - returns[1])[here]
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    assert abs(gains.mean() - expected_gain(step)) < 4 * error
    assert expected_gain(step) > 10 * error  # it is no comparison of noise


def test_introductions_are_those_of_the_first_items_cluster():
    base = 2 * CLUSTER_ITEMS
    history = np.array([[base + 5, base + 1, base + 1], [base + 5, CLUSTER_ITEMS, base + 2]])
    assert introductions_seen(history).tolist() == [[False, True, False], [False, False, True]]
    policy = parted(always_core, 3, 0, introduction=True)
    assert policy(None, history, None)[0].tolist() == [base, base]
    core = parted(always_core, 3, 0, introduction=False)(None, history, None)[0]
    assert ((core >= base + 3) & (core < base + CLUSTER_ITEMS)).all()
