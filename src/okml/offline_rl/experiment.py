"""The whole experiment, step by step; the notebook calls the same steps."""

from __future__ import annotations

from okml.experiment import ChapterExperiment, frame, step
from okml.offline_rl.experiments.cells import measure_cells
from okml.offline_rl.experiments.critics import measure_critics
from okml.offline_rl.experiments.evaluation import evaluate_off_policy
from okml.offline_rl.experiments.filters import measure_filters, measure_starts
from okml.offline_rl.experiments.longterm import measure_returns, solve_shop
from okml.offline_rl.experiments.preferences import measure_preferences
from okml.offline_rl.experiments.protocol import describe_data, measure_ties
from okml.offline_rl.experiments.training import train_everything
from okml.offline_rl.figures import RECORDED
from okml.offline_rl.settings import OfflineRLProfile
from okml.offline_rl.study import Study


class Experiment(ChapterExperiment[OfflineRLProfile, Study]):
    """The steps of the chapter in the order of the notebook; each is computed once."""

    open_study = Study
    recorded = RECORDED
    data = step(describe_data)
    shop = step(solve_shop)
    training = step(train_everything)
    critics = step(measure_critics)
    ties = step(measure_ties)
    cells = step(measure_cells, frame("training", "seen"))
    filters = step(measure_filters)
    starts = step(measure_starts)
    returns = step(measure_returns)
    preferences = step(measure_preferences)
    evaluation = step(evaluate_off_policy)
