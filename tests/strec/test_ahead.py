"""Trainings in worker processes are those that the experiment would have done itself."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from unittest import mock

import pytest
import torch

from okml.strec.arms import CAUSAL, Arm, Job, all_jobs, sampled, tries, warm_start
from okml.strec.config import PROFILES
from okml.strec.settings import StrecProfile
from okml.strec.study import Study
from okml.training import ahead
from okml.training.ahead import train_ahead
from tests.folders import check_folders_apart
from tests.profiles import changed
from tests.second_device.smallest import small_strec
from tests.strec.tiny import put_logs


@pytest.mark.slow
def test_trained_ahead_is_as_trained_in_turn(own_data, tmp_path):
    put_logs(own_data)
    precision = PROFILES["gpu"].mixed_precision
    small = small_strec()
    rates = {
        "recipes": (changed(small.recipe, learning_rates=(5e-4, 1e-3)),),
        "warm_start": changed(small.warm_start, learning_rates=(1e-3, 2e-3)),
    }
    profile = changed(small, **rates, mixed_precision=precision)
    main, seed = profile.main, profile.seeds[0]
    threads = torch.get_num_threads()
    job = Job(main, sampled("strec", main, profile.recipe), seed, profile.recipe)
    causal = Job(main, Arm(CAUSAL, training="windows", layers=2), seed, profile.recipe)
    alone, pool = Study(profile, tmp_path / "alone"), Study(profile, tmp_path / "pool")
    try:
        torch.set_num_threads(1)
        expected = alone.train(job).encoder.state_dict()
    finally:
        torch.set_num_threads(threads)
    with mock.patch.object(ahead, "usable_cores", return_value=2):
        train_ahead(pool, [job, causal])
    with mock.patch("okml.training.loop._Run._take", side_effect=AssertionError("trained again")):
        found = pool.train(job).encoder.state_dict()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


@pytest.mark.parametrize("name", PROFILES)
def test_no_two_trainings_that_may_run_at_a_time_are_in_one_folder(name, tmp_path):
    """A worker that finds a folder in use gives up, and with it the run."""
    profile = PROFILES[name]
    study = Study(profile, tmp_path)
    check_folders_apart(study, all_jobs(profile), partial(_may_train_in, profile))


def _may_train_in(profile: StrecProfile, job: Job) -> set[Hashable]:
    """Return the folders in which a job may train, with any rate if that is not chosen."""
    trials, start = tries(profile, job), warm_start(profile, job)
    rates = [trial.rate for trial in trials] if job.rate is None else [job.rate]
    before = [*(trials if len(rates) > 1 else []), *([] if start is None else [start])]
    relaxed, hard = job.stages
    stages = [(relaxed, 0)] * bool(relaxed) + [(relaxed, hard)] * bool(hard)
    part = (job.data.log, job.data.tie_rule, job.recipe.name, job.arm, job.seed)
    own: set[Hashable] = {
        (*part, rate, stage, job.stays_soft and bool(stage[1]))
        for rate in rates
        for stage in stages
    }
    return own.union(*(_may_train_in(profile, each) for each in before))
