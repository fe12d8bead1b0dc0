"""Validation curves, what is chosen by them, and when an arm was still rising."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import polars as pl
import pytest

from okml.strec.arms import BACKBONE, Job, sampled, tries
from okml.strec.config import PROFILES
from okml.strec.convergence import last_slope, still_rising
from okml.strec.study import Study
from okml.strec.trainer import SPENT, TrainedEncoder
from okml.training import History
from tests.strec.tiny import changed


def history(values, stopped_by="max_epochs", every=10, **columns):
    steps = [every * (number + 1) for number in range(len(values))]
    frame = pl.DataFrame({"step": steps, "ndcg@10": list(map(float, values)), **columns})
    best = max(range(len(values)), key=values.__getitem__)
    return History(frame, steps[-1], stopped_by, steps[best], values[best])


def test_a_line_has_its_own_slope():
    # 40 validations that rise by 0.001 each: a tenth of the steps is four of them.
    assert last_slope(history([0.001 * n for n in range(40)])) == pytest.approx(0.004)


def test_three_validations_at_least_make_a_slope():
    # Of five validations a tenth of the steps has one, so the last three count: 0.01 in two
    # intervals of 10 steps is 0.0025 in a tenth of 50.
    assert last_slope(history([0, 9, 0.1, 0.105, 0.11])) == pytest.approx(0.0025)
    assert math.isnan(last_slope(history([0.1, 0.2])))


def test_what_is_not_known_to_be_flat_was_still_rising():
    assert still_rising(history([0.1, 0.2]))
    assert not still_rising(history([0.1, 0.2], "early_stopping"))


@pytest.mark.parametrize(("rise", "expected"), [(0.9, False), (1.1, True)])
def test_a_hundredth_of_the_best_divides_flat_from_rising(rise, expected):
    # A rise of `rise` hundredths of the best, 1, in the last tenth of the steps.
    values = [1 - rise * 0.01 * (39 - n) / 4 for n in range(40)]
    assert still_rising(history(values)) is expected
    assert not still_rising(history(values, "early_stopping"))


def test_seconds_of_a_resumed_training_are_the_sum_of_its_parts():
    # The counter starts anew in the process that went on after the second validation.
    parts = history([0.1, 0.2, 0.3, 0.3], **{SPENT: [5.0, 9.0, 2.0, 6.0]})
    assert TrainedEncoder(mock.sentinel.encoder, (parts,), 1, 1.0).seconds == 15


def test_the_rate_with_the_best_validation_of_the_first_seed_is_for_all_seeds(tmp_path):
    profile = changed(PROFILES["smoke"], rate_factors=(1.0, 4.0, 2.0), seeds=(3, 5))
    study = Study(profile, tmp_path)
    job = Job(profile.main, sampled("strec", profile.main, profile.recipe), 5, profile.recipe)
    found = {1.0: 0.1, 4.0: 0.3, 2.0: 0.2}
    assert study.needs(job) == tries(profile, job)
    assert {trial.seed for trial in tries(profile, job)} == {3}
    with mock.patch.object(
        study, "train", lambda trial: SimpleNamespace(validation=found[trial.rate])
    ):
        assert study.tuned(job) == replace(job, rate=4.0)
    # A trial needs its own stage 1, which starts from the best of the warm starts.
    [stage] = study.needs(replace(job, rate=4.0))
    assert (stage.epochs, stage.rate) == ((profile.recipe.relaxed_epochs, 0), 4.0)
    [start] = study.needs(stage)
    assert (start.seed, start.rate) == (5, None)


def test_arms_of_one_table_may_take_the_same_number_of_targets():
    for profile in PROFILES.values():
        for recipe in profile.recipes:
            jobs = [
                Job(profile.main, arm, 0, recipe)
                for arm in (
                    BACKBONE,
                    *(sampled(n, profile.main, recipe) for n in ("strec", "random")),
                )
            ]
            assert len({sum(job.stages) for job in jobs}) == 1
