"""Trainings that may run at a time are in folders of their own."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial

import pytest

from okml.add.arms import TUNING_SEED, Job, all_jobs, foundations, tuned
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

    A student may need each network of its images and seed, and the search of its rate, which has a
    seed of its own and may go beyond those that are tried first. All rounds of a progressive
    student are one folder.
    """
    images, rates = job.settings.images, job.settings.rates
    networks = foundations(profile)
    if job in networks:
        return {(images, job.what, job.seed)}
    seeds = {job.seed} if job.rate is not None or len(rates) == 1 else {job.seed, TUNING_SEED}
    found: set[Hashable] = {
        (images, each.what, each.seed)
        for each in networks
        if each.settings == job.settings and (each.what == "metric" or each.seed in seeds)
    }
    if job.rate is not None:
        return found | {(images, job.what, job.seed, job.steps, job.rate)}
    if len(rates) > 1:
        method = job.what if job.what in tuned(job.settings) else "default"
        tried = (*rates, "a further one")
        found |= {(images, method, TUNING_SEED, 1, rate) for rate in tried}
    if job.seed != TUNING_SEED:
        found.add((images, job.what, job.seed, job.steps, "the best"))
    return found
