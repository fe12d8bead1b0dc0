"""Trainings side by side on the cores of a CPU.

Networks of this size do not fill two cores. Two trainings, each on one core, take little more time
than one on both. Each worker leaves its trainings in the folder of the run, where the experiment,
which goes on as if nothing had happened, finds them finished.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from okml.lightsage.arms import Arm
from okml.lightsage.experiments.baselines import baseline_scorer, graphsage_arm, network_arm
from okml.lightsage.experiments.graphs import graph_arm
from okml.lightsage.experiments.networks import loss_arms, variant_arm
from okml.lightsage.experiments.tail import tail_arms
from okml.lightsage.settings import BaselineName, DataSettings, LightsageProfile
from okml.lightsage.study import Study
from okml.runtime import progress, usable_cores

TRAINED: tuple[BaselineName, ...] = ("lightgcn users", "lightgcn items", "pinsage")


@dataclass(frozen=True, eq=False)
class Job:
    """One training.

    Attributes:
        data: What on.
        seed: Of the training, and of what is drawn.
        arm: An encoder, or the name of a baseline that keeps its training.
    """

    data: DataSettings
    seed: int
    arm: Arm | BaselineName


def all_jobs(study: Study) -> list[Job]:
    """Return every training that a run needs, each once, those of one shop together."""
    profile, jobs = study.profile, []
    for seed in profile.seeds:
        for data in (profile.data, *profile.real):
            arms = {arm.key(): arm for arm in _arms(study, data)}
            jobs += [Job(data, seed, arm) for arm in arms.values()]
            names = profile.baselines if data == profile.data else profile.real_baselines
            jobs += [Job(data, seed, name) for name in names if name in TRAINED]
    return jobs


def _arms(study: Study, data: DataSettings) -> Iterator[Arm]:
    profile = study.profile
    main = data == profile.data
    yield network_arm(study, data)
    if main:
        yield from (graph_arm(study, name) for name in profile.graphs)
        yield from (variant_arm(study, name) for name in profile.variants)
        yield from loss_arms(study).values()
        yield from tail_arms(study)
    else:
        yield network_arm(study, data, item_vectors=True)
    if "graphsage" in (profile.baselines if main else profile.real_baselines):
        yield graphsage_arm(study, data)


def train_ahead(study: Study) -> int:
    """Carry out all trainings, as many at a time as there are cores; on a GPU do nothing.

    Returns:
        The number of trainings that the run needs.
    """
    jobs = all_jobs(study)
    workers = min(usable_cores(), len(jobs))
    if study.device.type == "cpu" and workers > 1:
        context = multiprocessing.get_context("spawn")
        arguments = (study.profile, study.run_dir)
        with ProcessPoolExecutor(workers, context, initializer=_start, initargs=arguments) as pool:
            for _ in progress(pool.map(_carry_out, jobs), "training ahead", len(jobs)):
                pass
    return len(jobs)


_study: Study | None = None  # of a worker process


def _start(profile: LightsageProfile, run_dir: Path) -> None:
    global _study
    torch.set_num_threads(1)
    _study = Study(profile, run_dir)


def _carry_out(job: Job) -> None:
    assert _study is not None
    data = _study.data(job.data, job.seed)
    if isinstance(job.arm, Arm):
        _study.train(data, job.arm, job.seed)
    else:
        baseline_scorer(_study, data, job.arm, job.seed)
