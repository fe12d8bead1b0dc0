"""Parallel trainings, one on each core of a CPU.

The kernels of a small network are too small to occupy several cores: two trainings, each on one
core, take little more time than one on both. Each worker saves its trainings in the folder of the
run, where the experiment then finds them finished.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import torch
from threadpoolctl import threadpool_limits

from okml import runlog
from okml.errors import TrainingError
from okml.lifeline import WorkerPool, stoppable
from okml.runtime import note_workers, progress, usable_cores

Shared = TypeVar("Shared")
Job = TypeVar("Job")


class Trains(Protocol[Job]):
    """A study that can do each training of its chapter, or load it if it is finished.

    Its class takes the profile and the folder of the run, so that each worker opens its own.
    """

    profile: Any
    run_dir: Path

    @property
    def device(self) -> torch.device:
        """The device of the trainings."""
        ...

    def train(self, job: Job, /) -> object:
        """Return the finished training of a job."""
        ...

    def needs(self, job: Job, /) -> Iterable[Job]:
        """Return the jobs that a job starts from."""
        ...


def train_ahead(study: Trains[Job], jobs: Iterable[Job]) -> None:
    """Train jobs in parallel, and before them all that they start from; on a GPU do nothing.

    Args:
        study: The study of the run, of which each worker opens a copy.
        jobs: The jobs, hashable, in the order in which they shall start.

    Raises:
        Exception: The first exception of a job; the other trainings are saved and stopped.
        TrainingError: If a worker process was killed.
    """
    open_study: Callable[[], Any] = partial(cast(Any, type(study)), study.profile, study.run_dir)
    side_by_side(open_study, _train, waves_of(study, jobs), study.device)


def waves_of(study: Trains[Job], jobs: Iterable[Job]) -> list[list[Job]]:
    """Return jobs and all that they need, each once, in waves that need only earlier waves."""
    waves: list[list[Job]] = []
    depths: dict[Job, int] = {}

    def depth(job: Job) -> int:
        if job not in depths:
            depths[job] = 1 + max((depth(need) for need in study.needs(job)), default=-1)
            waves.extend([] for _ in range(depths[job] + 1 - len(waves)))
            waves[depths[job]].append(job)
        return depths[job]

    for job in jobs:
        depth(job)
    return waves


def _train(study: Trains[Job], job: Job) -> None:
    study.train(job)


def side_by_side(
    prepare: Callable[[], Shared],
    carry_out: Callable[[Shared, Job], object],
    waves: Sequence[Sequence[Job]],
    device: torch.device,
) -> None:
    """Carry out jobs in parallel, one for each core; on a GPU do nothing.

    All arguments are pickled for the workers.

    Args:
        prepare: A function that makes the jobs' shared object; each worker calls it once.
        carry_out: A function that does a job with the shared object and saves its result in the
            folder of the run.
        waves: The jobs in waves; each wave starts when the one before is done.
        device: The device of the run.

    Raises:
        Exception: The first exception of a job; the other trainings are saved and stopped.
        TrainingError: If a worker process was killed.
    """
    workers = min(usable_cores(), max(map(len, waves), default=0))
    if device.type != "cpu" or workers < 2:
        return
    try:
        given = (prepare, carry_out, runlog.place())
        modules = (getattr(prepare, "func", prepare).__module__, carry_out.__module__)
        with stoppable(), WorkerPool(workers, _start, given, modules) as pool:
            done, of = 0, sum(map(len, waves))
            for wave in waves:
                jobs = [pool.submit(_carry_out, job) for job in wave]
                for job in progress(as_completed(jobs), "training ahead", len(wave)):
                    job.result()
                    done += 1
                    runlog.event("jobs", done=done, of=of)
            note_workers(pool.processes)
    except BrokenProcessPool:
        raise TrainingError(
            "A process that trained ahead was ended from outside.",
            "Memory may have run out: compare `okml plan` with `okml doctor`. The same run goes on "
            "with what its trainings have saved.",
        ) from None


_shared: Any = None  # the shared object of a worker process
_job: Callable[[Any, Any], object]


def _start(
    prepare: Callable[[], Any],
    carry_out: Callable[[Any, Any], object],
    place: runlog.Place | None,
) -> None:
    global _shared, _job
    runlog.write_to(place)
    torch.set_num_threads(1)
    # The parent reports progress; lines of several workers would be interleaved.
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - open as long as the worker lives
    _shared, _job = prepare(), carry_out
    # The threads of NumPy's BLAS, which is loaded by now, would spin while they wait for a core.
    threadpool_limits(1)


def _carry_out(job: Any) -> None:
    _job(_shared, job)
