"""The whole experiment, step by step; the notebook calls the same steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import cast

import polars as pl

from okml.experiment import ChapterExperiment
from okml.ledger import RunRecord
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
from okml.steps import StepResult


class Experiment(ChapterExperiment[OfflineRLProfile, Study]):
    """The steps of the chapter in the order of the notebook; each is computed once."""

    @cached_property
    def data(self) -> StepResult:
        """The logs as MDPs."""
        return self.steps("data", protocol.describe_data, self.study)

    @cached_property
    def shop(self) -> StepResult:
        """Exact returns of the best and the myopic policy in the simulator."""
        return self.steps("shop", longterm.solve_shop, self.study)

    @cached_property
    def training(self) -> StepResult:
        """All trainings, and the learning curves of both stages."""
        return self.steps("training", training.train_everything, self.study)

    @cached_property
    def ties(self) -> StepResult:
        """The effect of the order of ratings with equal times."""
        return self.steps("ties", protocol.measure_ties, self.study)

    @cached_property
    def cells(self) -> StepResult:
        """The paper's cells, neighbors, controls and the verdict."""
        return self.steps("cells", cells.measure_cells, self.study)

    @cached_property
    def filters(self) -> StepResult:
        """The effect of stage 2 on the policy."""
        return self.steps("filters", filters.measure_filters, self.study)

    @cached_property
    def starts(self) -> StepResult:
        """Stage 2 after stages 1 of other lengths."""
        return self.steps("starts", filters.measure_starts, self.study)

    @cached_property
    def returns(self) -> StepResult:
        """True returns in the simulator."""
        return self.steps("returns", longterm.measure_returns, self.study)

    @cached_property
    def evaluation(self) -> StepResult:
        """Off-policy estimates compared with the true returns."""
        return self.steps("evaluation", evaluation.evaluate_off_policy, self.study)

    def _open_study(self) -> Study:
        return Study(self.profile, self.folder)

    def _tables(self) -> Mapping[str, pl.DataFrame]:
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


STEPS = Experiment.step_names()


def run(profile: Profile, folder: Path) -> RunRecord:
    """Run the whole experiment; finished steps in ``folder`` are reused."""
    return Experiment(cast(OfflineRLProfile, profile), folder).record()
