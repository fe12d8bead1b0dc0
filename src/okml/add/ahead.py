"""Trainings side by side on the cores of a CPU.

Networks of this size do not fill two cores: their kernels are too small. Two trainings, each on
one core, take little more time than one on both. Each worker leaves its trainings in the folder
of the run, where the experiment, which goes on as if nothing had happened, finds them finished.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from okml.add.arms import ARMS, ArmName
from okml.add.profile_settings import AddProfile, SetSettings
from okml.add.study import Study
from okml.add.workbench import EMBEDDER_SEED, EYE_SEED
from okml.runtime import progress, usable_cores

Foundation = Literal["teacher", "narrower teacher", "eye", "embedder", "metric"]


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        settings: The image set.
        what: A foundation, an arm, or an alternative.
        seed: Of arms and alternatives.
    """

    settings: SetSettings
    what: Foundation | ArmName | Literal["consistency", "progressive"]
    seed: int = 0


def foundations(profile: AddProfile) -> list[Job]:
    """Return what all distillations need, the longest first."""
    jobs = [Job(settings, "teacher") for settings in profile.sets]
    for settings in profile.sets:
        if any(ARMS[name].weaker_teacher for name in (*settings.arms, *settings.arms_once)):
            jobs.append(Job(settings, "narrower teacher"))
        if settings.eye == "vit":
            jobs += [Job(settings, "eye"), Job(settings, "embedder")]
        jobs.append(Job(settings, "metric"))
    return jobs


def distillations(profile: AddProfile) -> list[Job]:
    """Return all arms and alternatives with their seeds, the longest first."""
    jobs = [job for settings in profile.sets for job in _of_set(profile, settings)]
    return sorted(jobs, key=lambda job: -ARMS[job.what].times if job.what in ARMS else 0)


def seeds_of(profile: AddProfile, settings: SetSettings, name: ArmName) -> tuple[int, ...]:
    """Return the seeds that an arm runs with; none if it does not run on this set."""
    seeds = profile.seeds_of(settings)
    if name == "default" or name in settings.arms:
        return seeds
    return seeds[:1] if name in settings.arms_once else ()


def _of_set(profile: AddProfile, settings: SetSettings) -> Iterator[Job]:
    for name in ARMS:
        for seed in seeds_of(profile, settings, name):
            yield Job(settings, name, seed)
    for other in settings.alternatives:
        for seed in profile.seeds_of(settings)[: settings.alternative_seeds]:
            yield Job(settings, other, seed)


def train_ahead(study: Study) -> None:
    """Carry out all trainings, as many at a time as there are cores; on a GPU do nothing."""
    first, then = foundations(study.profile), distillations(study.profile)
    workers = min(usable_cores(), len(then))
    if study.device.type != "cpu" or workers < 2:
        return
    context = multiprocessing.get_context("spawn")
    arguments = (study.profile, study.run_dir)
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=arguments) as pool:
        for batch in (first, then):
            for _ in progress(_carried_out(pool, batch), "training ahead", len(batch)):
                pass


def _carried_out(pool: ProcessPoolExecutor, jobs: Sequence[Job]) -> Iterator[None]:
    yield from pool.map(_carry_out, jobs)


_study: Study | None = None  # of a worker process


def _start(profile: AddProfile, run_dir: Path) -> None:
    global _study
    torch.set_num_threads(1)
    _study = Study(profile, run_dir)


def _carry_out(job: Job) -> None:
    assert _study is not None
    carry_out(_study, job)


def carry_out(study: Study, job: Job) -> None:
    """Do one training, or find it done."""
    bench, what = study.workbench(job.settings), job.what
    if what == "teacher":
        bench.train_teacher()
    elif what == "narrower teacher":
        bench.train_teacher(narrower=True)
    elif what == "eye":
        bench.vit(EYE_SEED)
    elif what == "embedder":
        bench.vit(EMBEDDER_SEED)
    elif what == "metric":
        _ = bench.metric
    elif what == "consistency":
        bench.consistency(job.seed)
    elif what == "progressive":
        bench.progressive(job.seed, 1)
    else:
        bench.distil(what, job.seed)
