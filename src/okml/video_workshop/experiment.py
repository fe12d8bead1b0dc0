"""The whole experiment, step by step; the notebook calls the same steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import cast

import polars as pl

from okml.experiment import ChapterExperiment
from okml.ledger import RunRecord
from okml.profile import Profile
from okml.steps import StepResult
from okml.video_workshop.experiments import protocol
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.study import Study


class Experiment(ChapterExperiment[VideoWorkshopProfile, Study]):
    """The steps of the chapter in the order of the notebook; each is computed once."""

    @cached_property
    def data(self) -> StepResult:
        """The log."""
        return self.steps("data", lambda: protocol.describe_data(self.study))

    def _open_study(self) -> Study:
        return Study(self.profile, self.folder)

    def _tables(self) -> Mapping[str, pl.DataFrame]:
        return {
            "data": self.data.frames["data"],
            "signals": self.data.frames["signals"],
        }


STEPS = Experiment.step_names()


def run(profile: Profile, folder: Path) -> RunRecord:
    """Run the whole experiment; finished steps found in ``folder`` are used again."""
    return Experiment(cast(VideoWorkshopProfile, profile), folder).record()
