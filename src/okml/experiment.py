"""The common base of the chapters' experiments: folder, study, steps and record."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import polars as pl
import torch

from okml import runlog
from okml.chapters import chapter
from okml.kept import remove_superseded
from okml.ledger import RunRecord, folder_of, save_record
from okml.locks import take
from okml.profile import Profile
from okml.runtime import seed_everything
from okml.status import note_folder
from okml.steps import Steps


class HasDevice(Protocol):
    """A study: the data and models that the steps of a run share."""

    @property
    def device(self) -> torch.device:
        """The device of the computations."""
        ...


ProfileT = TypeVar("ProfileT", bound=Profile)
StudyT = TypeVar("StudyT", bound=HasDevice)


class ChapterExperiment(ABC, Generic[ProfileT, StudyT]):
    """The steps of a chapter in the order of its notebook; each is computed once.

    A subclass defines its steps, and nothing else, as cached properties in that order.

    The experiment locks its folder until its record is made, or the process ends.

    Args:
        profile: The settings of the run.
        folder: The folder of trainings and finished steps; None for the profile's default.

    Raises:
        BusyError: If another process runs in the folder.
    """

    def __init__(self, profile: ProfileT, folder: Path | None = None) -> None:
        seed_everything(profile.seeds[0])
        self.profile = profile
        self.stated = chapter(profile.chapter).profile(profile.name)
        self.folder = folder or folder_of(profile, self.stated)
        self._lock = take(self.folder)
        self.study = self._open_study()
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
        return tuple(
            name for name, member in vars(cls).items() if isinstance(member, cached_property)
        )

    def record(self) -> RunRecord:
        """Run the remaining steps, write the record and return it."""
        for step in self.step_names():
            getattr(self, step)
        record = self.steps.record(self._tables())
        save_record(record, self.stated, self.folder)
        remove_superseded(self.profile, self.folder)
        runlog.event("run finished")
        self._lock.release()
        return record

    @abstractmethod
    def _open_study(self) -> StudyT:
        """Return the study of ``profile`` in ``folder``."""

    @abstractmethod
    def _tables(self) -> Mapping[str, pl.DataFrame]:
        """Return the rows behind the figures that the site draws from records."""
