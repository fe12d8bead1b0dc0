"""A chapter of a few seconds with all that a real one has: trainings ahead, steps and a record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from okml.accelerator import pick_device
from okml.code_key import full_name
from okml.experiment import ChapterExperiment, step
from okml.kept import Needs, needs_of
from okml.profile import Budget, Profile
from okml.steps import StepResult, Steps
from okml.training import TrainingSettings, ahead, fit
from tests import notebooks
from tests.survival.work import trace_writes, work
from tests.training.tasks import BASE, ActorCritic, Noisy

JOBS = ("a", "b", "c", "d")
STEPS_OF_A_TRAINING = 24
UNITS = {"data": ("d", 10), "figures": ("f", 20)}  # letter and number of a step's units of work
TRAINING = "t"  # the letter of a step of a training


class ToyProfile(Profile):
    chapter: ClassVar[str] = "space_time"


PROFILE = ToyProfile(
    name="smoke", budget=Budget(minutes=1, memory_gib=1, disk_gib=1), seeds=(5,), device="cpu"
)
SETTINGS: TrainingSettings = BASE.model_copy(
    update={"device": "cpu", "max_steps": STEPS_OF_A_TRAINING, "evaluate_every": 6}
)


class Traced(ActorCritic):
    def after_step(self, step: int) -> None:
        super().after_step(step)
        work(TRAINING)


class Study:
    def __init__(self, profile: ToyProfile, folder: Path) -> None:
        self.profile = profile
        self.run_dir = folder
        self.device = pick_device(profile.device)

    def needs(self, job: tuple[int, str]) -> tuple[tuple[int, str], ...]:
        return ()

    def train(self, job: tuple[int, str]) -> ActorCritic:
        trace_writes()
        number, name = job
        task = Traced()
        device = "cpu" if self.device.type == "cpu" else "auto"
        settings = SETTINGS.model_copy(update={"seed": number, "device": device})
        fit(task, Noisy(), settings, self.run_dir / "training" / name / f"seed{number}")
        return task


class ToySteps(Steps):
    """Steps of functions outside of okml: the code that they depend on is that of a training."""

    def _needs(self, compute: Callable[..., StepResult], given: Any) -> Needs:
        return needs_of(self.profile, (full_name(fit),), self.device, full_name(compute))


def make_data(study: Study) -> StepResult:
    return numbers("data")


def draw(study: Study) -> StepResult:
    return numbers("figures")


def numbers(name: str) -> StepResult:
    result = StepResult()
    letter, amount = UNITS[name]
    for _ in range(amount):
        work(letter)
    result.log(f"{name}_amount", amount, seed=5)
    result.frames["numbers"] = pl.DataFrame({"x": range(1000)})
    return result


def train(study: Study) -> StepResult:
    jobs = list(enumerate(JOBS))
    ahead.train_ahead(study, jobs)
    result = StepResult()
    for job in [*jobs, (len(jobs), "alone")]:
        result.log(f"error_{job[1]}", study.train(job).evaluate()["error"], seed=5)
    return result


class Toy(ChapterExperiment[ToyProfile, Study]):
    open_study = Study
    recorded: ClassVar = {"numbers": "data.numbers"}
    data = step(make_data)
    training = step(train)
    figures = step(draw)

    def __init__(self, profile: ToyProfile, folder: Path, cores: int = 2) -> None:
        super().__init__(profile, folder)
        # Whatever the machine has. It is for the rest of the process, which runs nothing else.
        ahead.usable_cores = lambda: cores
        self.steps = ToySteps(profile, folder, str(self.study.device))


def write_notebook(root: Path) -> None:
    """Write a checkout whose chapter ``space_time`` is this toy."""
    notebooks.write_notebook(
        root / "notebooks" / "space_time.ipynb",
        "from pathlib import Path\nfrom tests.survival.toy import PROFILE, Toy, trace_writes\n"
        "trace_writes()\ntoy = Toy(PROFILE, Path(run_dir))",
        "toy.data.seconds >= 0",
        "toy.training.seconds >= 0",
        "toy.figures.seconds >= 0",
        "sorted(toy.record().metrics)",
    )
