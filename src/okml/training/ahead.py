"""Trainings side by side on the cores of a CPU.

A network that is small enough for a CPU does not fill its cores: its kernels are too small. Two
trainings, each on one core, take little more time than one on both. Each worker leaves its
trainings in the folder of the run, where the experiment, which goes on as if nothing had happened,
finds them finished.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch
from threadpoolctl import threadpool_limits

from okml.runtime import progress, usable_cores

Shared = TypeVar("Shared")
Job = TypeVar("Job")


def side_by_side(
    prepare: Callable[[], Shared],
    carry_out: Callable[[Shared, Job], object],
    waves: Sequence[Sequence[Job]],
    device: torch.device,
) -> None:
    """Carry out jobs, as many at a time as there are cores; on a GPU do nothing.

    What is given travels to the workers, so all of it is picklable.

    Args:
        prepare: Makes what the jobs of a worker share; called once in each.
        carry_out: Does a job with it and leaves the result in the folder of the run.
        waves: The jobs; a wave starts when all of the one before are done.
        device: Of the run.

    Raises:
        Exception: The first that a job raised.
    """
    workers = min(usable_cores(), max(map(len, waves)))
    if device.type != "cpu" or workers < 2:
        return
    context = multiprocessing.get_context("spawn")
    given = (prepare, carry_out)
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=given) as pool:
        for wave in waves:
            for _ in progress(pool.map(_carry_out, wave), "training ahead", len(wave)):
                pass


_shared: Any = None  # of a worker process
_job: Callable[[Any, Any], object]


def _start(prepare: Callable[[], Any], carry_out: Callable[[Any, Any], object]) -> None:
    global _shared, _job
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    # The parent counts the jobs; lines of several at once would only be mixed up.
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the worker
    _shared, _job = prepare(), carry_out
    # The threads of NumPy's BLAS, which is loaded by now, spin while they wait for a core.
    threadpool_limits(1)


def _end_with_parent() -> None:
    """Leave when the run is killed: checkpoints are whole at any moment, and nobody waits."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _carry_out(job: Any) -> None:
    _job(_shared, job)
