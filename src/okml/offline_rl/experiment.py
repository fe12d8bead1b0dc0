"""The whole experiment, step by step; the notebook calls the same steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import cast

import polars as pl

from okml.chapters import chapter
from okml.ledger import RunRecord, folder_of, save_record
from okml.offline_rl.experiments import (
    cells,
    evaluation,
    filters,
    longterm,
    protocol,
    training,
)
from okml.offline_rl.settings import OfflineRLProfile
from okml.offline_rl.study import Study
from okml.profile import Profile
from okml.runtime import seed_everything
from okml.steps import StepResult, Steps


class Experiment:
    """The steps of the chapter in the order of the notebook; each is computed once.

    Args:
        profile: The settings.
        folder: Where trainings and finished steps are kept.
    """

    def __init__(self, profile: OfflineRLProfile, folder: Path | None = None) -> None:
        seed_everything(profile.seeds[0])
        self.profile = profile
        self.stated = chapter(profile.chapter).profile(profile.name)
        self.folder = folder or folder_of(profile, self.stated)
        self.study = Study(profile, self.folder)
        self.steps = Steps(profile, self.folder, str(self.study.device))

    @cached_property
    def data(self) -> StepResult:
        """The logs as MDPs."""
        return self.steps("data", lambda: protocol.describe_data(self.study))

    @cached_property
    def shop(self) -> StepResult:
        """What the simulator is worth, exactly."""
        return self.steps("shop", lambda: longterm.solve_shop(self.study))

    @cached_property
    def training(self) -> StepResult:
        """All trainings, and the learning curves of both stages."""
        return self.steps("training", lambda: training.train_everything(self.study))

    @cached_property
    def ties(self) -> StepResult:
        """The order of ratings that share a second."""
        return self.steps("ties", lambda: protocol.measure_ties(self.study))

    @cached_property
    def cells(self) -> StepResult:
        """The paper's cells, neighbors, controls and the verdict."""
        return self.steps("cells", lambda: cells.measure_cells(self.study))

    @cached_property
    def filters(self) -> StepResult:
        """What stage 2 does to the policy."""
        return self.steps("filters", lambda: filters.measure_filters(self.study))

    @cached_property
    def starts(self) -> StepResult:
        """Stage 2 from stages 1 of other lengths."""
        return self.steps("starts", lambda: filters.measure_starts(self.study))

    @cached_property
    def returns(self) -> StepResult:
        """True returns in the simulator."""
        return self.steps("returns", lambda: longterm.measure_returns(self.study))

    @cached_property
    def evaluation(self) -> StepResult:
        """Off-policy estimates beside the truth."""
        return self.steps("evaluation", lambda: evaluation.evaluate_off_policy(self.study))

    def record(self) -> RunRecord:
        """Run what has not run yet, write the record and return it."""
        for step in STEPS:
            getattr(self, step)
        record = self.steps.record(self._tables())
        save_record(record, self.stated, self.folder)
        return record

    def _tables(self) -> Mapping[str, pl.DataFrame]:
        """Return the rows behind the figures that the site draws from records."""
        return {
            "curves": self.training.frames["curves"],
            "costs": self.training.frames["costs"]
            .group_by("data", "arm", maintain_order=True)
            .agg(pl.col("updates").first(), pl.col("ms an update").mean()),
            "table": self.cells.frames["table"],
            "cells": self.cells.frames["cells"],
            "verdict": self.cells.frames["verdict"],
            "filters": self.filters.frames["filters"],
            "starts": self.starts.frames["starts"],
            "returns": self.returns.frames["returns"],
            "ope": self.evaluation.frames["simulator"],
            "ope_logs": self.evaluation.frames["logs"],
            "ties": self.ties.frames["ties"],
        }


STEPS = tuple(
    name for name, member in vars(Experiment).items() if isinstance(member, cached_property)
)


def run(profile: Profile, folder: Path) -> RunRecord:
    """Run the whole experiment; finished steps found in ``folder`` are used again."""
    return Experiment(cast(OfflineRLProfile, profile), folder).record()
