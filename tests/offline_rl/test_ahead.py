"""Trainings that may run at a time are in folders of their own."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import pytest

from okml.offline_rl.arms import ARMS, AnyJob, CriticJob, all_jobs, rate_jobs
from okml.offline_rl.config import PROFILES
from okml.offline_rl.settings import OfflineRLProfile
from okml.offline_rl.study import Study
from okml.training.rates import search
from tests.folders import check_folders_apart


@pytest.mark.parametrize("name", PROFILES)
def test_no_two_trainings_that_may_run_at_a_time_are_in_one_folder(name, tmp_path):
    """A worker that finds a folder in use gives up, and with it the run."""
    profile = PROFILES[name]
    study = Study(profile, tmp_path)
    check_folders_apart(study, all_jobs(profile), partial(_may_train_in, profile))


@pytest.mark.parametrize("name", PROFILES)
def test_a_rate_that_a_search_tries_too_is_the_same_number(name):
    """One folder has the trainings of a rate, which is written with six digits."""
    profile = PROFILES[name]
    named = {f"{rate:g}": rate for rate in _reached(profile.learning_rates, 3)}
    for job in rate_jobs(profile):
        assert named.get(f"{job.rate:g}", job.rate) == job.rate


def _reached(rates: Sequence[float], further: int) -> set[float]:
    """Return all learning rates that a search may try."""
    ends = (search(rates, further, value, 0.0) for value in (lambda rate: rate, lambda rate: -rate))
    return {rate for tried in ends for rate in tried.values}


def _may_train_in(profile: OfflineRLProfile, job: AnyJob) -> set[Hashable]:
    """Return the folders in which a job may train, with any rate if that is not chosen."""
    before: list[AnyJob]
    if isinstance(job, CriticJob):
        searched = job.chooser(profile)
        seeds = profile.seeds if job == searched else (job.seed,)
        rates = profile.fit.rates, profile.further_rates
        found = _reached(*rates) if job.rate is None else {job.rate}
        numbers = job.copies_to_try(profile) if job.rate is None else (job.copies,)
        fits = [
            replace(job, seed=seed, rate=rate, copies=copies)
            for seed, rate, copies in product(seeds, found, numbers)
        ]
        own: set[Hashable] = {(fit.data, fit.name, fit.seed) for fit in fits}
        before = [job.stage1, *([searched] if job.rate is None and job != searched else [])]
    else:
        arm, chooser = ARMS[job.arm], job.chooser(profile)
        seeds = profile.seeds if job == chooser else (job.seed,)
        tried = profile.learning_rates, job.further_rates(profile)
        found = _reached(*tried) if job.rate is None else {job.rate}
        own = {(job.data, job.name, seed, rate) for seed in seeds for rate in found}
        before = [chooser] if job != chooser and job.rate not in profile.learning_rates else []
        before += [job.stage1] if arm.from_stage1 else []
        before += [job.critics] if arm.method == "crr" else []
    return own.union(*(_may_train_in(profile, each) for each in before))
