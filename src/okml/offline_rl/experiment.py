"""The whole experiment, step by step; the notebook calls the same steps."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from okml.experiment import ChapterExperiment, step
from okml.offline_rl.experiments.cells import measure_cells
from okml.offline_rl.experiments.critics import measure_critics
from okml.offline_rl.experiments.evaluation import evaluate_off_policy
from okml.offline_rl.experiments.filters import measure_filters, measure_starts
from okml.offline_rl.experiments.longterm import measure_returns, solve_shop
from okml.offline_rl.experiments.protocol import describe_data, measure_ties
from okml.offline_rl.experiments.training import train_everything
from okml.offline_rl.settings import OfflineRLProfile
from okml.offline_rl.study import Study


class Experiment(ChapterExperiment[OfflineRLProfile, Study]):
    """The steps of the chapter in the order of the notebook; each is computed once."""

    open_study = Study
    data = step(describe_data)
    shop = step(solve_shop)
    training = step(train_everything)
    critics = step(measure_critics)
    ties = step(measure_ties)
    cells = step(measure_cells)
    filters = step(measure_filters)
    starts = step(measure_starts)
    returns = step(measure_returns)
    evaluation = step(evaluate_off_policy)

    def tables(self) -> Mapping[str, pl.DataFrame]:
        """Return the rows behind the figures that the site draws from records."""
        return {
            "curves": self.training.frames["curves"],
            "costs": self.training.frames["costs"]
            .group_by("data", "arm", maintain_order=True)
            .agg(pl.col("updates").first(), pl.col("ms an update").mean()),
            "fits": self.critics.frames["fits"],
            "calibration": self.critics.frames["calibration"],
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
