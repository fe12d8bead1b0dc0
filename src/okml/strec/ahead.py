"""Trainings side by side on the cores of a CPU.

An encoder of this size does not fill two cores: its kernels are too small. Two trainings, each on
one core, take little more time than one on both. Each worker leaves its trainings in the folder
of the run, where the experiment, which goes on as if nothing had happened, finds them finished.
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

from okml.runtime import progress, usable_cores
from okml.strec.arms import Arm
from okml.strec.references import ReferenceName
from okml.strec.settings import DataSettings, Recipe, StrecProfile
from okml.strec.study import Study


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        data: What on.
        seed: Of the training.
        recipe: Of an arm, or of a warm start; None: a causal SASRec, or a reference.
        arm: Which; None: the warm start of the recipe.
        epochs: Of the two stages; None: the recipe's.
        layers: Of a causal SASRec.
        reference: A recommender of another paper.
    """

    data: DataSettings
    seed: int
    recipe: Recipe | None = None
    arm: Arm | None = None
    epochs: tuple[int, int] | None = None
    layers: int = 0
    reference: ReferenceName | None = None


def train_ahead(study: Study, jobs: Sequence[Job]) -> None:
    """Carry out trainings, as many at a time as there are cores; on a GPU do nothing.

    Jobs that need a warm start expect it to be there: it is trained before them.
    """
    workers = min(usable_cores(), len(jobs))
    if study.device.type != "cpu" or workers < 2:
        return
    starts = list(
        dict.fromkeys(
            Job(job.data, job.seed, job.recipe)
            for job in jobs
            if job.recipe is not None and job.recipe.warm_start_epochs
        )
    )
    context = multiprocessing.get_context("spawn")
    arguments = (study.profile, study.run_dir)
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=arguments) as pool:
        for batch in (starts, [job for job in jobs if job not in starts]):
            for _ in progress(pool.map(_carry_out, batch), "training ahead", len(batch)):
                pass


_study: Study | None = None  # of a worker process


def _start(profile: StrecProfile, run_dir: Path) -> None:
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
    data = _study.data(job.data)
    if job.reference is not None:
        _study.train_reference(data, job.reference, job.seed)
    elif job.recipe is None:
        _study.train_causal(data, job.layers, job.seed)
    elif job.arm is None:
        _study.warm_start(data, job.recipe, job.seed)
    else:
        _study.train(data, job.recipe, job.arm, job.seed, job.epochs)
