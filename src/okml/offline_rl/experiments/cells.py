"""The paper's twelve cells, other arms and controls, and the verdict on the factor 1.5."""

from __future__ import annotations

import numpy as np
import polars as pl

from okml.ledger import Bar, Estimate, estimate_ratio
from okml.offline_rl.comparison import CELLS, Comparison
from okml.offline_rl.data import Prepared
from okml.offline_rl.experiments.protocol import rank_popular
from okml.offline_rl.paper import COLUMNS, paper_value
from okml.offline_rl.settings import ArmName, DataSettings
from okml.offline_rl.study import Study
from okml.seqrec.comparison import cells_won
from okml.steps import StepResult

FULL: ArmName = "crr"
PAPER_RIVALS: tuple[ArmName, ...] = ("sasrec_bce", "caser_bce", "transformer_only", "crr_only")
# The same baselines with the full softmax, and the control that the paper lacks.
STRONG_RIVALS: tuple[ArmName, ...] = ("sasrec_ce", "caser_ce", "bc_continue", "transformer_only")
ASKED = 1.3  # least ratio at which the factor 1.5 counts as reproduced


def compare(study: Study, settings: DataSettings, *, last: bool = False) -> Comparison:
    """Return the ranks of the test rows by every arm of the profile.

    Args:
        study: The study, which trains the arms.
        settings: The settings of the data set.
        last: Whether to use the weights of the last step instead of the best validation.
    """
    profile, data = study.profile, study.data(settings)
    comparison = empty(data)
    for name, seeds in profile.arms_of(settings).items():
        for seed in seeds:
            trained = study.train(settings, study.arm(name), seed)
            encoder = trained.last if last else trained.encoder
            comparison.add(name, seed, study.rank(encoder, data))
    return comparison


def empty(data: Prepared) -> Comparison:
    """Return a comparison on the test rows without arms."""
    return Comparison(data.test.user, wanted=data.test_rewards() >= data.wanted)


def measure_cells(study: Study) -> StepResult:
    """Fill the cells, count wins, and compare stage 2 with its control."""
    profile, result = study.profile, StepResult()
    labels: dict[str, str] = {name: study.arm(name).label for name in profile.arms_of(profile.main)}
    tables, cells, wanted = [], [], []
    # CRR less its best rival in each cell of data sets with more than one reward.
    against_paper: list[Estimate] = []
    against_strong: list[Estimate] = []
    for settings in profile.datasets:
        comparison = compare(study, settings)
        table = comparison.table(labels, "bc_continue")
        tables.append(table.select(pl.lit(settings.log).alias("data"), pl.all()))
        cells.append(_cells(comparison, settings.log))
        second = comparison.on_wanted().table(labels, "bc_continue")
        wanted.append(second.select(pl.lit(settings.log).alias("data"), pl.all()))
        if np.ptp(study.data(settings).episodes.rewards) > 0:
            for rivals, found in ((PAPER_RIVALS, against_paper), (STRONG_RIVALS, against_strong)):
                present = [name for name in rivals if name in comparison.arms]
                found += [comparison.less_the_best(FULL, present, cell) for cell in CELLS]
        if settings == profile.main:
            popular = rank_popular(study, study.data(settings))["ndcg@10"]
            _measure_gains(result, comparison, popular)
            result.frames["verdict"] = verdict(comparison)
    for metric, found in (
        ("experiments_won_share", against_paper),
        ("strong_experiments_won_share", against_strong),
    ):
        result.measure(metric, cells_won(found).divided(len(found)), f"of {len(found)} cells")
    result.frames |= {
        "table": pl.concat(tables, how="diagonal_relaxed"),
        "wanted": pl.concat(wanted, how="diagonal_relaxed"),
        "cells": pl.concat(cells, how="diagonal_relaxed"),
    }
    return result


def _cells(comparison: Comparison, log: str) -> pl.DataFrame:
    """Return a row for each cell: our means and sd in the paper's columns, and its values."""
    rows = []
    for cell in CELLS:
        row: dict[str, object] = {"data": log, "metric": cell}
        for arm, column in COLUMNS.items():
            row[column] = None
            if arm in comparison.arms:
                values = [comparison.metric(arm, cell, seed) for seed in comparison.seeds(arm)]
                row[column] = float(np.mean(values))
                row[f"{column} sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            row[f"{column} (paper)"] = paper_value(log, cell, column)
        rows.append(row)
    schema = {name: pl.Float64 for row in rows for name in row if name not in ("data", "metric")}
    return pl.DataFrame(rows, schema_overrides=schema)


def _measure_gains(result: StepResult, comparison: Comparison, popular: float) -> None:
    ndcg, stage1, control = "ndcg@10", "transformer_only", "bc_continue"
    found = comparison.estimate(stage1, ndcg)
    result.measure("stage1_ndcg", found)
    result.measure("stage1_ndcg_over_popularity", found.divided(popular))
    result.measure("crr_ndcg", comparison.estimate(FULL, ndcg))
    ratio, supervised = "finetuning_ratio", "finetuning_ratio_supervised"
    result.measure(ratio, comparison.ratio(FULL, stage1, ndcg))
    result.measure(supervised, comparison.ratio(control, stage1, ndcg))
    result.compare(ratio, supervised, _ratio_gain(comparison, FULL, control, stage1))
    if "crr_only" in comparison.arms:
        result.measure("rl_only_ratio", comparison.ratio("crr_only", stage1, ndcg))
    if "sasrec_bce" in comparison.arms:
        gain = "ndcg_gain_over_sasrec_bce"
        result.measure(gain, comparison.difference(FULL, "sasrec_bce", ndcg))
        if "sasrec_ce" in comparison.arms:
            strong = "sasrec_ce_ndcg_gain_over_bce"
            result.measure(strong, comparison.difference("sasrec_ce", "sasrec_bce", ndcg))
            result.compare(gain, strong, comparison.difference(FULL, "sasrec_ce", ndcg))


def _ratio_gain(comparison: Comparison, arm: str, control: str, reference: str) -> Estimate:
    """Return the difference of two arms' NDCG@10 over a reference's NDCG@10, paired by user."""
    seeds = sorted(set(comparison.common_seeds(arm, control)) & set(comparison.seeds(reference)))
    rows = {
        name: {seed: comparison.rows(name, "ndcg@10", seed) for seed in seeds}
        for name in (arm, control, reference)
    }
    gained = {seed: rows[arm][seed] - rows[control][seed] for seed in seeds}
    return estimate_ratio(gained, rows[reference], "users", clusters=comparison.users)


def verdict(comparison: Comparison) -> pl.DataFrame:
    """Return the ratios behind the factor 1.5, with intervals, and the verdict."""
    rows = []
    pairs = {
        "CRR over stage 1": (FULL, "transformer_only"),
        "control over stage 1": ("bc_continue", "transformer_only"),
        "CRR over control": (FULL, "bc_continue"),
    }
    for metric in ("hr@10", "ndcg@10"):
        found = {name: comparison.ratio(*pair, metric) for name, pair in pairs.items()}
        sentence = judge_ratio(found["CRR over stage 1"], found["CRR over control"])
        rows += [
            {"metric": metric, "ratio": name, "value": ratio.mean, "low": ratio.low,
             "high": ratio.high, "verdict": sentence}
            for name, ratio in found.items()
        ]  # fmt: skip
    return pl.DataFrame(rows)


def judge_ratio(over_stage1: Estimate, over_control: Estimate) -> str:
    """Return the verdict on the digest's factor 1.5.

    Args:
        over_stage1: The ratio of CRR to the best of stage 1.
        over_control: The ratio of CRR to the control with equal weights.
    """
    asked = Bar(low=ASKED)
    if over_stage1.interval is None or asked.allows_none(over_stage1.interval):
        return "not reproduced"
    if not asked.allows_all(over_stage1.interval):
        return "undecided"
    if over_control.above(1):
        return "reproduced"
    return "a gain, and not due to reinforcement learning"
