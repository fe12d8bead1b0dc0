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
from okml.video_workshop.experiments import protocol, stream
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.study import Study


class Experiment(ChapterExperiment[VideoWorkshopProfile, Study]):
    """The steps of the chapter in the order of the notebook; each is computed once."""

    @cached_property
    def data(self) -> StepResult:
        """The log."""
        return self.steps("data", lambda: protocol.describe_data(self.study))

    @cached_property
    def freshness(self) -> StepResult:
        """All runs over streams; strategies that keep a model fresh."""
        return self.steps("freshness", lambda: stream.measure_freshness(self.study))

    @cached_property
    def new_items(self) -> StepResult:
        """First rows of new items, rows that expire, tables of other trainings."""
        return self.steps("new_items", lambda: stream.measure_new_items(self.study))

    @cached_property
    def update_intervals(self) -> StepResult:
        """Updates more and less often than once a period."""
        return self.steps("update_intervals", lambda: stream.measure_shards(self.study))

    @cached_property
    def sessions(self) -> StepResult:
        """ADER's strategies on sessions of two shops."""
        return self.steps("sessions", lambda: stream.measure_sessions(self.study))

    def _open_study(self) -> Study:
        return Study(self.profile, self.folder)

    def _tables(self) -> Mapping[str, pl.DataFrame]:
        return {
            "data": self.data.frames["data"],
            "signals": self.data.frames["signals"],
            "strategies": self.freshness.frames["strategies"],
            "stream_curves": self.freshness.frames["curves"],
            "item_ages": self.freshness.frames["ages"],
            "new_rows": self.new_items.frames["new_rows"],
            "new_row_ages": self.new_items.frames["new_row_ages"],
            "alignment": self.new_items.frames["alignment"],
            "update_intervals": self.update_intervals.frames["shards"],
            "sessions": self.sessions.frames["sessions"],
        }


STEPS = Experiment.step_names()


def run(profile: Profile, folder: Path) -> RunRecord:
    """Run the whole experiment; finished steps found in ``folder`` are used again."""
    return Experiment(cast(VideoWorkshopProfile, profile), folder).record()
