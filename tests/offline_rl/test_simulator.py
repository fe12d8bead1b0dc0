"""FunnelSim: its exact values against roll-outs, its log, and that the myopic are worse."""

import itertools

import numpy as np
import pytest

from okml.offline_rl.experiments.longterm import CORE, INTRO, describe_choices, solve
from okml.offline_rl.simulator import (
    CLUSTER_ITEMS,
    EXPERT_SLIPS,
    EXPLORATION,
    INTRODUCTIONS,
    ITEMS,
    LEAVE_CORE,
    LEAVE_INTRO,
    LONGEST,
    PURCHASE,
    Visitors,
    arrive,
    draw,
    draw_core,
    logging_policy,
    show,
    simulate,
    teacher,
)


def value_of(policy, count=20_000):
    sessions = simulate(policy, count, np.random.default_rng(0))
    returns = sessions.returns()
    return returns.mean(), returns.std(ddof=1) / np.sqrt(count)


def test_the_myopic_recommender_is_worth_what_dynamic_programming_says():
    exact = solve()
    mean, error = value_of(teacher(0))
    assert abs(mean - exact.myopic) < 4 * error


def test_the_best_choices_are_worth_what_dynamic_programming_says():
    exact = solve()

    def best(visitors, history, rng):
        left = LONGEST - history.shape[1]
        core = exact.choices[left - 1, visitors.introduced] == CORE
        intro = visitors.cluster * CLUSTER_ITEMS + np.minimum(visitors.introduced, 2)
        return np.where(core, draw_core(visitors.cluster, rng), intro), np.ones(len(history))

    mean, error = value_of(best)
    assert abs(mean - exact.best) < 4 * error


def test_no_fixed_number_of_introductions_beats_the_best_and_the_myopic_is_far_below():
    exact = solve()
    found = {count: value_of(teacher(count), 4000) for count in range(4)}
    assert all(mean - 4 * error < exact.best for mean, error in found.values())
    assert exact.myopic < 0.5 * exact.best
    # The next reward of a core item is never the smaller one, so the myopic never introduces.
    assert (exact.rewards[:, CORE] > exact.rewards[:, INTRO]).all()
    assert exact.choices[-1, 0] == INTRO


def worth(plan):
    """Return the expected reward of a plan, from its last action backwards."""
    value = 0.0
    for step in reversed(range(len(plan))):
        chance = PURCHASE[min(plan[:step].count(INTRO), 3)]
        reward, leave = (
            (0.2, LEAVE_INTRO) if plan[step] == INTRO else (0.2 + 0.8 * chance, LEAVE_CORE)
        )
        value = reward + (1 - leave) * value
    return value


def test_the_table_shows_the_shortest_session_in_which_an_introduction_pays():
    """A step less, and the best of all plans begins with a core item."""
    first = {
        actions: max(itertools.product((INTRO, CORE), repeat=actions), key=worth)[0]
        for actions in range(1, 12)
    }
    pays = min(actions for actions, action in first.items() if action == INTRO)
    for actions, named in ((pays - 1, "core item"), (pays, "introduction")):
        exact = solve(longest=actions + 1)  # the first item is no action
        row = describe_choices(exact).row(0, named=True)
        assert row["best choice, many steps left"] == named
        assert row["myopic choice"] == "core item"


def test_the_best_stationary_policy_is_the_best_that_shows_a_number_of_introductions():
    """Each policy that chooses by introductions seen shows some first, and core items from then."""
    exact = solve()

    def of(introductions):
        plan = [INTRO] * introductions + [CORE] * (LONGEST - 1 - introductions)
        return worth(plan[: LONGEST - 1])

    assert exact.stationary == pytest.approx(max(of(number) for number in (0, 1, 2, 3, 19)))
    assert exact.myopic < exact.stationary <= exact.best


def test_two_steps_by_hand():
    reward = [p + 0.2 * (1 - p) for p in PURCHASE]
    plans = {
        (CORE, CORE): reward[0] + (1 - LEAVE_CORE) * reward[0],
        (INTRO, CORE): 0.2 + (1 - LEAVE_INTRO) * reward[1],
        (CORE, INTRO): reward[0] + (1 - LEAVE_CORE) * 0.2,
        (INTRO, INTRO): 0.2 + (1 - LEAVE_INTRO) * 0.2,
    }
    exact = solve(longest=3)  # the first item, then two actions
    assert exact.best == pytest.approx(max(plans.values()))
    assert exact.myopic == pytest.approx(plans[CORE, CORE])


def test_purchases_and_departures_have_their_chances():
    count = 40_000
    for introduced, outside in itertools.product(range(4), (False, True)):
        seen = np.zeros((count, 3), dtype=bool)
        seen[:, :introduced] = True
        here = np.ones(count, dtype=bool)
        visitors = Visitors(np.zeros(count, dtype=np.int64), seen, here, np.zeros(count))
        item = np.full(count, 5 + CLUSTER_ITEMS * outside)
        bought = show(visitors, item, np.random.default_rng(introduced))
        chance = 0.01 if outside else PURCHASE[introduced]
        assert bought.mean() == pytest.approx(chance, abs=0.01)
        assert 1 - visitors.here.mean() == pytest.approx(0.2 if outside else 0.05, abs=0.01)


def test_propensities_are_the_chances_of_what_is_shown():
    visitors, first = arrive(1, np.random.default_rng(4))
    many = 20_000
    copies = visitors.only(np.zeros(many, dtype=np.int64))
    shown, chance = logging_policy(
        copies, np.repeat(first[:, None], many, 0), np.random.default_rng(1)
    )
    share = np.bincount(shown, minlength=ITEMS) / many
    for item in range(ITEMS):
        if share[item] > 0:
            assert chance[shown == item][0] == pytest.approx(
                share[item], abs=5 * np.sqrt(share[item] / many) + 1e-9
            )
    # Every item may be shown, so any policy can be evaluated from the log.
    assert (chance >= EXPLORATION / ITEMS * 0.99).all()


def test_an_expert_teaches_what_the_visitor_has_not_seen():
    many = 20_000
    cluster = np.ones(many, dtype=np.int64)
    seen = np.zeros((many, INTRODUCTIONS), dtype=bool)
    seen[:, 1] = True
    here = np.ones(many, dtype=bool)
    visitors = Visitors(cluster, seen, here, ticket=np.zeros(many))
    first = np.full((many, 1), 2 * CLUSTER_ITEMS - 1)
    shown, chance = logging_policy(visitors, first, np.random.default_rng(0))
    at_random = EXPLORATION / ITEMS
    taught = (1 - EXPLORATION) * (1 - EXPERT_SLIPS)
    for intro, wanted in ((0, taught / 2), (1, 0.0), (2, taught / 2)):
        of_it = shown == CLUSTER_ITEMS + intro
        error = 5 * np.sqrt(max(wanted, 1e-3) / many)
        assert of_it.mean() == pytest.approx(at_random + wanted, abs=error)
        assert chance[of_it] == pytest.approx(at_random + wanted)


def test_draws_follow_their_probabilities():
    probability = np.array([[0.5, 0.0, 0.5]] * 10_000)
    items, chance = draw(probability, np.random.default_rng(0))
    assert set(items) == {0, 2}
    assert (items == 0).mean() == pytest.approx(0.5, abs=0.03)
    assert (chance == 0.5).all()


def test_the_log_has_the_common_form_and_sessions_end_when_visitors_leave():
    sessions = simulate(logging_policy, 50, np.random.default_rng(0))
    over = sessions.items < 0
    expected = [
        (str(user), str(sessions.items[user, step]), step, *said)
        for user, step in np.argwhere(~over)
        for said in [("purchase", 1.0) if sessions.bought[user, step] else ("click", 0.2)]
    ]
    assert {row[3] for row in expected} == {"click", "purchase"}
    assert len(expected) == sessions.lengths.sum()
    for row, wanted in zip(sessions.frame().rows(), expected, strict=True):
        assert row == (*wanted[:4], pytest.approx(wanted[4]))
    assert (sessions.rewards[over] == 0).all()
    # Once over, a session stays over.
    assert (np.diff(over.astype(int), axis=1) >= 0).all()
