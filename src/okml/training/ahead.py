"""Parallel trainings, one on each core of a CPU.

The kernels of a small network are too small to occupy several cores: two trainings, each on one
core, take little more time than one on both. Each worker saves its trainings in the folder of the
run, where the experiment then finds them finished.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

import torch
from threadpoolctl import threadpool_limits

from okml import runlog
from okml.errors import TrainingError
from okml.lifeline import WorkerPool, stoppable
from okml.runtime import progress, usable_cores

Shared = TypeVar("Shared")
Job = TypeVar("Job")


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
    workers = min(usable_cores(), max(map(len, waves)))
    if device.type != "cpu" or workers < 2:
        return
    try:
        given, modules = (prepare, carry_out, runlog.place()), (carry_out.__module__,)
        with stoppable(), WorkerPool(workers, _start, given, modules) as pool:
            done, of = 0, sum(map(len, waves))
            for wave in waves:
                jobs = [pool.submit(_carry_out, job) for job in wave]
                for job in progress(as_completed(jobs), "training ahead", len(wave)):
                    job.result()
                    done += 1
                    runlog.event("jobs", done=done, of=of)
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
