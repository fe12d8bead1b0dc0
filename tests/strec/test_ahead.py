"""Trainings in worker processes are those that the experiment would have done itself."""

from __future__ import annotations

from collections.abc import Hashable
from graphlib import TopologicalSorter
from itertools import combinations
from unittest import mock

import pytest
import torch

from okml.strec.arms import CAUSAL, Arm, Job, all_jobs, sampled, tries, warm_start
from okml.strec.config import PROFILES
from okml.strec.settings import StrecProfile
from okml.strec.study import Study
from okml.training import ahead
from okml.training.ahead import train_ahead, with_needs
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
    graph = with_needs(Study(profile, tmp_path), all_jobs(profile))
    before: dict[Job, set[Job]] = {}  # all that is finished when a job starts
    done: dict[Job, set[Hashable]] = {}  # the folders in which a job or what it needs may train
    own: dict[Job, set[Hashable]] = {}
    for job in TopologicalSorter(graph).static_order():
        before[job] = {each for need in graph[job] for each in (need, *before[need])}
        finished = {folder for need in graph[job] for folder in done[need]}
        own[job] = _may_train_in(profile, job) - finished
        done[job] = finished | own[job]
    for one, other in combinations(graph, 2):
        if one not in before[other] and other not in before[one]:
            assert not own[one] & own[other], (one.arm.name, other.arm.name, one.seed)


def _may_train_in(profile: StrecProfile, job: Job) -> set[Hashable]:
    """Return the folders in which a job may train, with any rate if that is not chosen."""
    trials = tries(profile, job)
    rates = [trial.rate for trial in trials] if job.rate is None else [job.rate]
    relaxed, hard = job.stages
    start = warm_start(profile, job)
    stages = [(relaxed, 0)] * bool(relaxed) + [(relaxed, hard)] * bool(hard)
    found = {(job.data, job.arm, job.recipe, job.seed, rate, s) for rate in rates for s in stages}
    return found if start is None else found | _may_train_in(profile, start)
