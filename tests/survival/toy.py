"""A chapter of a few seconds with all that a real one has: trainings ahead, steps and a record.

``python -m tests.survival.toy FOLDER`` runs it; its notebook is made by :func:`write_notebook`.
Every unit of work adds a byte to ``FOLDER/work``, so that a test can strike at a chosen moment
without looking at a clock.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

import nbformat
import polars as pl
import torch

from okml.cli import report_errors
from okml.experiment import ChapterExperiment
from okml.profile import Budget, Profile
from okml.steps import StepResult
from okml.training import TrainingSettings, ahead, fit
from tests.training.tasks import BASE, ActorCritic, Noisy

CPU = torch.device("cpu")
JOBS = ("a", "b", "c", "d")
STEPS_OF_A_FIT = 24
PAUSE_S = 0.01  # of a unit of work, so that a run is more than its imports

ahead.usable_cores = lambda: 2  # trainings go ahead on any machine


class ToyProfile(Profile):
    chapter: ClassVar[str] = "space_time"


PROFILE = ToyProfile(
    name="smoke", budget=Budget(minutes=1, memory_gib=1, disk_gib=1), seeds=(5,), device="cpu"
)
SETTINGS: TrainingSettings = BASE.model_copy(
    update={"device": "cpu", "max_steps": STEPS_OF_A_FIT, "evaluate_every": 6}
)


def work(folder: Path) -> None:
    """Leave a trace of a unit of work."""
    handle = os.open(folder / "work", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, b".")
    os.close(handle)
    time.sleep(PAUSE_S)


@dataclass(frozen=True)
class Study:
    folder: Path
    device: torch.device = CPU

    def train(self, name: str) -> ActorCritic:
        task = ActorCritic()
        step = task.after_step

        def after_step(number: int) -> None:
            step(number)
            work(self.folder)

        task.after_step = after_step  # type: ignore[method-assign]
        seed = 5 + len(name)
        settings = SETTINGS.model_copy(update={"seed": seed})
        fit(task, Noisy(), settings, self.folder / "training" / name / f"seed{seed}")
        return task


def carry_out(study: Study, name: str) -> None:
    study.train(name)


class Toy(ChapterExperiment[ToyProfile, Study]):
    @cached_property
    def data(self) -> StepResult:
        return self.steps("data", partial(self._numbers, "data", 10))

    @cached_property
    def training(self) -> StepResult:
        return self.steps("training", self._train)

    @cached_property
    def figures(self) -> StepResult:
        return self.steps("figures", partial(self._numbers, "figures", 20))

    def _numbers(self, name: str, amount: int) -> StepResult:
        result = StepResult()
        for _ in range(amount):
            work(self.folder)
        result.log(f"{name}_amount", amount, seed=5)
        result.frames["numbers"] = pl.DataFrame({"x": range(1000)})
        return result

    def _train(self) -> StepResult:
        ahead.side_by_side(partial(Study, self.folder), carry_out, [JOBS], self.study.device)
        result = StepResult()
        for name in (*JOBS, "alone"):
            task = self.study.train(name)
            error = task.evaluate()["error"]
            result.log(f"error_{name}", error, seed=5)
        return result

    def _open_study(self) -> Study:
        self.folder.mkdir(parents=True, exist_ok=True)
        return Study(self.folder)

    def _tables(self) -> Mapping[str, pl.DataFrame]:
        return {"numbers": self.data.frames["numbers"]}


def write_notebook(root: Path) -> None:
    """Write a checkout whose chapter ``space_time`` is this toy."""
    cells = [
        "from pathlib import Path\nfrom tests.survival.toy import PROFILE, Toy\n"
        "toy = Toy(PROFILE, Path(run_dir))",
        "toy.data.values('data_amount')",
        "toy.training.values('error_alone')",
        "toy.figures.values('figures_amount')",
        "toy.record().metrics['error_alone'].mean",
    ]
    book = nbformat.v4.new_notebook()
    parameters = 'profile = "smoke"\nseed = None\noverrides = {}\nrun_dir = None'
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    book.cells = [first, *map(nbformat.v4.new_code_cell, cells)]
    book.metadata.kernelspec = {"name": "python3", "language": "python", "display_name": "Python"}
    (root / "notebooks").mkdir(parents=True)
    nbformat.write(book, root / "notebooks" / "space_time.ipynb")


def main() -> None:
    with report_errors():
        Toy(PROFILE, Path(sys.argv[1])).record()


if __name__ == "__main__":
    main()
