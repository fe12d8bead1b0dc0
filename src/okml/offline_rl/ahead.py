"""The trainings of the chapter as jobs that run in parallel on the cores of a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from okml.offline_rl.arms import Arm
from okml.offline_rl.settings import DataSettings
from okml.offline_rl.study import Study
from okml.training.ahead import side_by_side


@dataclass(frozen=True)
class Job:
    """The training of an arm on a log with a seed."""

    data: DataSettings
    arm: Arm
    seed: int


def train_ahead(study: Study, jobs: Sequence[Job]) -> None:
    """Carry out trainings in worker processes, stage 1 before the jobs that start from it."""
    starts = [
        Job(job.data, study.stage1(job.arm.start_epochs), job.seed)
        for job in jobs
        if job.arm.start == "stage1"
    ]
    first = list(dict.fromkeys(starts))
    prepare = partial(Study, study.profile, study.run_dir)
    others = [job for job in jobs if job not in first]
    side_by_side(prepare, _carry_out, (first, others), study.device)


def _carry_out(study: Study, job: Job) -> None:
    study.train(job.data, job.arm, job.seed)
