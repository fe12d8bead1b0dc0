"""The common base of the chapters' experiments: folder, study, steps and record."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, overload

import polars as pl

from okml import runlog
from okml.accelerator import require_accelerator
from okml.chapters import chapter
from okml.kept import AnyStudy, remove_superseded
from okml.ledger import RunRecord, folder_of, save_record
from okml.locks import held
from okml.profile import ProfileT
from okml.runtime import seed_everything
from okml.status import note_folder
from okml.steps import StepResult, Steps


class step:  # noqa: N801 - it is written like a decorator, as property is
    """One step of an experiment: an attribute whose result is computed once and kept on disk.

    Args:
        compute: A function of a module of okml that takes the study, and then the inputs.
        inputs: Functions of the experiment; each returns a number, text or frame that ``compute``
            takes from the settings or from other steps.
        room: The attribute of the study that ``compute`` takes instead of the whole; of a chapter
            with several themes.
    """

    def __init__(
        self,
        compute: Callable[..., StepResult],
        *inputs: Callable[[Any], object],
        room: str | None = None,
    ) -> None:
        self.compute = compute
        self.inputs = inputs
        self.room = room
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, experiment: None, owner: type) -> step: ...

    @overload
    def __get__(self, experiment: ChapterExperiment[Any, Any], owner: type) -> StepResult: ...

    def __get__(
        self, experiment: ChapterExperiment[Any, Any] | None, owner: type
    ) -> step | StepResult:
        if experiment is None:
            return self
        steps = experiment.steps
        if self.name in steps.results:
            return steps.results[self.name]
        return steps(self.name, self.compute, *self._given(experiment))

    def is_kept(self, experiment: ChapterExperiment[Any, Any]) -> bool:
        """Return whether the result is kept on disk, if the steps that it reads are."""
        return experiment.steps.is_kept(self.name, self.compute, *self._given(experiment))

    def _given(self, experiment: ChapterExperiment[Any, Any]) -> list[object]:
        whole = experiment.study
        study = whole if self.room is None else getattr(whole, self.room)
        return [study, *(of(experiment) for of in self.inputs)]


def frame(other: str, name: str) -> Callable[[ChapterExperiment[Any, Any]], pl.DataFrame]:
    """Return an input for a :class:`step`: the frame ``name`` of the step ``other``."""
    return lambda experiment: getattr(experiment, other).frames[name]


MOST_ROWS = 2500  # most rows of a frame, such as a map's points, in a record
StudyT = TypeVar("StudyT", bound=AnyStudy)


class ChapterExperiment(ABC, Generic[ProfileT, StudyT]):
    """The steps of a chapter in the order of its notebook; each is computed once.

    A subclass has a :class:`step` for each of them, in that order, and
    ``open_study``: a class or function that takes the profile and the folder of the run, and
    ``recorded``: the frames that its record keeps, so that the site draws them without the run.

    The experiment locks its folder until its record is made, or the process ends.

    Args:
        profile: The settings of the run.
        folder: The folder of trainings and finished steps; None for the profile's default.

    Raises:
        BusyError: If another process runs in the folder.
        ResourceError: If the profile is meant for a GPU and there is none.
    """

    open_study: Callable[[ProfileT, Path], StudyT]
    recorded: ClassVar[Mapping[str, str]]  # ``step.frame`` by the name of the record's table

    def __init__(self, profile: ProfileT, folder: Path | None = None) -> None:
        if profile.device == "auto" and profile.for_gpu:
            require_accelerator()  # a run for a GPU never falls back to the CPU
        seed_everything(profile.seeds[0])
        self.profile = profile
        self.stated = chapter(profile.chapter).profile(profile.name)
        self.folder = folder or folder_of(profile, self.stated)
        self._lock = ExitStack()
        self._lock.enter_context(held(self.folder))
        self.study = self.open_study(profile, self.folder)
        self.steps = Steps(profile, self.folder, str(self.study.device))
        note_folder(profile.chapter, self.folder)
        runlog.write_to(self.folder)
        runlog.event(
            "run started",
            chapter=profile.chapter,
            profile=profile.name,
            settings=profile.fingerprint(),
            steps=self.step_names(),
            budget_minutes=profile.budget.minutes,
            device=str(self.study.device),
        )

    @classmethod
    def step_names(cls) -> tuple[str, ...]:
        """Return the names of the steps, in their order."""
        return tuple(name for name, member in vars(cls).items() if isinstance(member, step))

    def record(self) -> RunRecord:
        """Run the remaining steps, write the record and return it."""
        for name in self.step_names():
            getattr(self, name)
        record = self.steps.record(self.tables())
        save_record(record, self.stated, self.folder)
        remove_superseded(self.profile, self.folder)
        runlog.event("run finished")
        self._lock.close()
        return record

    def record_so_far(self) -> RunRecord:
        """Return the record of the steps that were asked for; if all others are kept, of all.

        A notebook that shows some of the steps ends with this, so that the last one to run writes
        the record of the chapter.
        """
        if all(map(self._is_kept, self.step_names())):
            return self.record()
        self._lock.close()
        return self.steps.record({})

    def _is_kept(self, name: str) -> bool:
        return name in self.steps.results or getattr(type(self), name).is_kept(self)

    def tables(self) -> dict[str, pl.DataFrame]:
        """Return the frames that the record keeps, by the names of its tables.

        A profile may leave out a part of a step with its frames, such as logs that it lacks.
        """
        found = {
            name: getattr(self, step).frames.get(frame)
            for name, (step, frame) in sources(self.recorded).items()
        }
        return {name: rows.head(MOST_ROWS) for name, rows in found.items() if rows is not None}


def sources(recorded: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the step and the frame of each table that a record keeps.

    Args:
        recorded: ``step.frame`` by the name of the table.
    """
    return {name: (of.split(".")[0], of.split(".")[1]) for name, of in recorded.items()}
