"""Trainings that may run at a time are in folders of their own."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from functools import partial

import pytest

from okml.lightsage.arms import Job, all_jobs, tries
from okml.lightsage.config import PROFILES
from okml.lightsage.settings import LightsageProfile
from okml.lightsage.study import Study
from tests.folders import check_folders_apart


@pytest.mark.parametrize("name", PROFILES)
def test_no_two_trainings_that_may_run_at_a_time_are_in_one_folder(name, tmp_path):
    """A worker that finds a folder in use gives up, and with it the run."""
    profile = PROFILES[name]
    study = Study(profile, tmp_path)
    check_folders_apart(study, all_jobs(profile), partial(_may_train_in, profile))


def _may_train_in(profile: LightsageProfile, job: Job) -> set[Hashable]:
    """Return the folders in which a job may train, with any rate if that is not chosen."""
    if job.rate is not None:
        return {job.folder}
    trials = tries(profile, job)
    own = [replace(job, rate=trial.rate) for trial in trials]
    return {each.folder for each in (*own, *(trials if len(trials) > 1 else []))}
