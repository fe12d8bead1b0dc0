"""Trainings side by side on the cores of a CPU: networks of this size do not fill two cores.

Each worker leaves its trainings in the folder of the run, where the experiment, which goes on as
if nothing had happened, finds them finished.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from okml.offline_rl.arms import Arm
from okml.offline_rl.settings import DataSettings, OfflineRLProfile
from okml.offline_rl.study import Study
from okml.runtime import progress, usable_cores


@dataclass(frozen=True)
class Job:
    """One training: of an arm, on a log, with a seed."""

    data: DataSettings
    arm: Arm
    seed: int


def train_ahead(study: Study, jobs: Sequence[Job]) -> None:
    """Carry out trainings, as many at a time as there are cores; on a GPU do nothing."""
    workers = min(usable_cores(), len(jobs))
    if study.device.type != "cpu" or workers < 2:
        return
    starts = [
        Job(job.data, study.stage1(job.arm), job.seed) for job in jobs if job.arm.start == "stage1"
    ]
    first = list(dict.fromkeys(starts))
    context = multiprocessing.get_context("spawn")
    arguments = (study.profile, study.run_dir)
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=arguments) as pool:
        for batch in (first, [job for job in jobs if job not in first]):
            for _ in progress(pool.map(_carry_out, batch), "training ahead", len(batch)):
                pass


_study: Study | None = None  # of a worker process


def _start(profile: OfflineRLProfile, run_dir: Path) -> None:
    global _study
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _study = Study(profile, run_dir)


def _end_with_parent() -> None:
    """Leave when the run is killed: checkpoints are whole at any moment, and nobody waits."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _carry_out(job: Job) -> None:
    assert _study is not None
    _study.train(job.data, job.arm, job.seed)
