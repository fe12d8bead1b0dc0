"""Trainings that may run at a time are in folders of their own."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial

import pytest

from okml.add.arms import TUNED, TUNING_SEED, Job, all_jobs, foundations
from okml.add.config import PROFILES
from okml.add.profile_settings import AddProfile
from okml.add.study import Study
from tests.folders import check_folders_apart


@pytest.mark.parametrize("name", PROFILES)
def test_no_two_trainings_that_may_run_at_a_time_are_in_one_folder(name, tmp_path):
    """A worker that finds a folder in use gives up, and with it the run."""
    profile = PROFILES[name]
    study = Study(profile, tmp_path)
    check_folders_apart(study, all_jobs(profile), partial(_may_train_in, profile))


def _may_train_in(profile: AddProfile, job: Job) -> set[Hashable]:
    """Return the folders in which a job may train, with any rate if that is not chosen.

    A student may need each network of its images. All rounds of a progressive one are one folder.
    """
    images, rates = job.settings.images, job.settings.rates
    networks = foundations(profile)
    if job in networks:
        return {(images, job.what)}
    own = rates if job.rate is None else (job.rate,)
    found: set[Hashable] = {(images, job.what, job.seed, rate) for rate in own}
    if len(own) > 1:
        tuned = job.what if job.what in TUNED else "default"
        found |= {(images, tuned, TUNING_SEED, rate) for rate in own}
    return found | {(images, each.what) for each in networks if each.settings == job.settings}
