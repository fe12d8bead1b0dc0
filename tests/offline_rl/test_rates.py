"""The learning rate that is chosen, against values whose highest point is known."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.offline_rl.arms import Job
from okml.offline_rl.rates import Tried, search
from okml.offline_rl.study import Study
from tests.offline_rl.tiny import tiny

RATES = (1.0, 0.25)


def hill(highest: float):
    """Return a value that is highest at a rate and falls to both sides, by octaves."""
    return lambda rate: 50 - abs(math.log2(rate / highest))


@pytest.mark.parametrize(
    ("highest", "further", "tried", "bracketed"),
    [
        (1.0, 1, (*RATES, 4.0), True),
        (0.25, 1, (*RATES, 0.0625), True),
        (4.0, 1, (*RATES, 4.0), False),  # one further rate is not enough
        (4.0, 2, (*RATES, 4.0, 16.0), True),
        (1.0, 0, RATES, False),  # of two rates the best is always at an end
    ],
)
def test_rates_beyond_an_end_are_tried_until_the_best_is_inside(highest, further, tried, bracketed):
    found = search(RATES, further, hill(highest), untrained=0.0)
    assert tuple(found.values) == tried
    assert found.best == highest if highest in tried else found.best == max(RATES)
    assert found.bracketed is bracketed


def test_no_smaller_rate_is_tried_than_one_that_changes_little():
    """Three hundredths of 0.20 are 0.006: at a quarter training leaves 0.195, at one 0.15."""
    by_rate = {1.0: 0.15, 0.25: 0.195}
    found = search(RATES, 3, by_rate.__getitem__, untrained=0.20)
    assert (found.best, found.bracketed) == (0.25, True)
    moved = Tried(by_rate, untrained=0.25)
    assert moved.beyond == 0.0625
    assert not moved.bracketed


def test_a_single_rate_was_not_chosen():
    alone = search((1.0,), 2, hill(1.0), 0.0)
    assert (alone.best, alone.beyond, alone.bracketed) == (1.0, None, False)


def test_of_equal_rates_the_smallest_is_taken():
    assert Tried({4.0: 1.0, 1.0: 1.0, 0.25: 0.5}, 0.0).best == 1.0


@given(st.floats(1e-3, 1e3), st.integers(0, 12))
def test_the_best_of_a_hill_is_bracketed_or_the_search_was_cut_off(highest, further):
    found = search(RATES, further, hill(highest), 0.0)
    ordered = sorted(found.values)
    assert all(b / a == pytest.approx(4) for a, b in pairwise(ordered))
    if found.bracketed:
        assert ordered[0] < found.best < ordered[-1]
        # On a hill what is inside is within one factor of the highest point.
        assert hill(highest)(found.best) >= 50 - math.log2(4)
    else:
        assert len(found.values) == len(RATES) + further


def validated(values, calls=None):
    """Return a replacement of trainings whose best validation is given by arm, rate and seed."""

    def train(study, job):
        if calls is not None:
            calls.append(job)
        return SimpleNamespace(history=SimpleNamespace(best_value=values(job)))

    return mock.patch.object(Study, "train", train)


def test_the_rate_is_the_best_by_the_mean_over_seeds(tmp_path):
    """By hand: the first seed prefers one, 0.30 to 0.29; the means are 0.25 and 0.27."""
    by_seed = {1.0: [0.30, 0.20, 0.25], 0.3: [0.29, 0.28, 0.24]}
    profile = tiny(seeds=[4, 5, 6], learning_rates=[1.0, 0.3])
    study, calls = Study(profile, tmp_path), []
    with validated(lambda job: by_seed[job.rate][job.seed - 4], calls):
        for seed in profile.seeds:
            assert study.rate(Job(profile.main, "sasrec_ce", seed)) == 0.3
        tried = study.tried(Job(profile.main, "sasrec_ce", 5))
    assert tried.values == pytest.approx({1.0: 0.25, 0.3: 0.27})
    assert not tried.bracketed
    # One search of two rates with three seeds serves all of them.
    assert len(calls) == 6


def test_a_further_rate_is_trained_with_every_seed(tmp_path):
    profile = tiny(seeds=[0, 1], learning_rates=[1.0, 0.5], further_rates=1)
    study, calls = Study(profile, tmp_path), []
    with validated(lambda job: hill(1.0)(job.rate), calls):
        tried = study.tried(Job(profile.main, "caser_bce", 0))
    assert (tried.best, tried.bracketed) == (1.0, True)
    assert [(job.rate, job.seed) for job in calls] == [
        (1.0, 0), (1.0, 1), (0.5, 0), (0.5, 1), (2.0, 0), (2.0, 1),
    ]  # fmt: skip


def test_stage_1_is_what_an_arm_of_stage_2_is_without_its_training(tmp_path):
    """Its 0.2 at the lower rate is stage 1's, so that no rate below may change it."""
    profile = tiny(seeds=[0, 1], learning_rates=[1.0, 0.3], further_rates=1)
    study = Study(profile, tmp_path)
    with validated(lambda job: {1.0: 0.1, 0.3: 0.2, None: 0.2}[job.rate]):
        assert study.tried(Job(profile.main, "crr", 1)).bracketed


def test_a_control_that_differs_in_one_thing_has_the_rate_of_what_it_is_compared_with(tmp_path):
    profile = tiny(seeds=[0, 1], learning_rates=[1.0, 0.3])
    main = profile.main
    other_ties = main.model_copy(update={"tie_rule": "item"})
    assert main.tie_rule != "item"
    for job, chooser in (
        (Job(main, "crr_dealt", 1), Job(main, "crr", 0)),
        (Job(main, "crr_binary_dealt", 1), Job(main, "crr_binary", 0)),
        (Job(other_ties, "transformer_only", 1), Job(main, "transformer_only", 0)),
        (Job(profile.funnel, "crr", 1, rate=0.3), Job(profile.funnel, "crr", 0)),
        (Job(main, "crr", 1, stage1_epochs=2), Job(main, "crr", 0, stage1_epochs=2)),
    ):
        assert job.chooser(profile) == chooser
        assert chooser.chooser(profile) == chooser
