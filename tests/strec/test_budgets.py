"""What validation chooses, and what a training took."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

from okml.strec.arms import BACKBONE, Job, sampled, tries
from okml.strec.config import PROFILES
from okml.strec.study import Study
from okml.strec.trainer import SPENT, TrainedEncoder
from tests.seqrec.curves import history
from tests.strec.tiny import changed


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
