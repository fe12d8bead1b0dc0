"""The trainings of the chapter as jobs that run in parallel on the cores of a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from okml.strec.arms import Arm
from okml.strec.references import ReferenceName
from okml.strec.settings import DataSettings, Recipe
from okml.strec.study import Study
from okml.training.ahead import side_by_side


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        data: The settings of the data set.
        seed: The seed of the training.
        recipe: The recipe of an arm or a warm start; None for a causal SASRec or a reference.
        arm: The arm to train; None for the recipe's warm start.
        epochs: The epochs of the two stages; None for the recipe's.
        layers: The number of layers of a causal SASRec.
        reference: The name of a recommender of another paper; None for other trainings.
    """

    data: DataSettings
    seed: int
    recipe: Recipe | None = None
    arm: Arm | None = None
    epochs: tuple[int, int] | None = None
    layers: int = 0
    reference: ReferenceName | None = None


def warm_starts(jobs: Sequence[Job]) -> list[Job]:
    """Return the warm starts that jobs need, each once."""
    return list(
        dict.fromkeys(
            Job(job.data, job.seed, job.recipe)
            for job in jobs
            if job.recipe is not None and job.recipe.warm_start_epochs
        )
    )


def train_ahead(study: Study, jobs: Sequence[Job]) -> None:
    """Carry out trainings in worker processes, warm starts before the jobs that need them."""
    starts = warm_starts(jobs)
    prepare = partial(Study, study.profile, study.run_dir)
    others = [job for job in jobs if job not in starts]
    side_by_side(prepare, _carry_out, (starts, others), study.device)


def _carry_out(study: Study, job: Job) -> None:
    data = study.data(job.data)
    if job.reference is not None:
        study.train_reference(data, job.reference, job.seed)
    elif job.recipe is None:
        study.train_causal(data, job.layers, job.seed)
    elif job.arm is None:
        study.warm_start(data, job.recipe, job.seed)
    else:
        study.train(data, job.recipe, job.arm, job.seed, job.epochs)
