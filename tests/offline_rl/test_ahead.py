"""Trainings that may run at a time are in folders of their own."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from functools import partial

import pytest

from okml.offline_rl.arms import ARMS, AnyJob, CriticJob, all_jobs
from okml.offline_rl.config import PROFILES
from okml.offline_rl.settings import OfflineRLProfile
from okml.offline_rl.study import Study
from tests.folders import check_folders_apart


@pytest.mark.parametrize("name", PROFILES)
def test_no_two_trainings_that_may_run_at_a_time_are_in_one_folder(name, tmp_path):
    """A worker that finds a folder in use gives up, and with it the run."""
    profile = PROFILES[name]
    study = Study(profile, tmp_path)
    check_folders_apart(study, all_jobs(profile), partial(_may_train_in, profile))


def _may_train_in(profile: OfflineRLProfile, job: AnyJob) -> set[Hashable]:
    """Return the folders in which a job may train, with any rate if that is not chosen."""
    before: list[AnyJob]
    if isinstance(job, CriticJob):
        tried = job.candidates(profile) if job.rate is None else []
        chosen = [replace(job, rate=fit.rate, copies=fit.copies) for fit in tried] or [job]
        own: set[Hashable] = {(fit.data, fit.name, fit.seed) for fit in chosen}
        before = [job.stage1, *tried]
    elif job.rate is not None:
        own = {(job.data, job.name, job.seed, job.rate)}
        before = [replace(job, rate=None)]
    else:
        arm, rates = ARMS[job.arm], profile.learning_rates
        first = replace(job, seed=profile.seeds[0])
        own = {(job.data, job.name, job.seed, rate) for rate in rates}
        before = [first] if len(rates) > 1 and job != first else []
        before += [job.stage1] if arm.from_stage1 else []
        before += [job.critics] if arm.method == "crr" else []
    return own.union(*(_may_train_in(profile, each) for each in before))
