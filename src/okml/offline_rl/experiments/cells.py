"""The paper's twelve cells, other arms and controls, and the verdict on the factor 1.5."""

from __future__ import annotations

from collections import Counter, defaultdict
from importlib import resources
from typing import Annotated

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray
from pydantic import TypeAdapter

from okml.ledger import Bar, Estimate, estimate_ratio
from okml.offline_rl.arms import CONTROL, STAGE1, quality_jobs
from okml.offline_rl.comparison import CELLS, RewardedArms
from okml.offline_rl.experiments.protocol import rank_popular
from okml.offline_rl.study import Study
from okml.seqrec.comparison import cells_won
from okml.settings import one_of
from okml.steps import StepResult

# The columns of the paper's table.
COLUMNS = {
    "sasrec_bce": "SASRec",
    "caser_bce": "Caser",
    STAGE1: "Transformer-only",
    "crr_only": "CRR-only",
    "crr": "CRR-Transformer",
}
# `paper_results.yml` has the values of its cells by log, metric and column.
Column = Annotated[str, one_of("column", COLUMNS.values)]
PAPER_VALUES = TypeAdapter(dict[str, dict[str, dict[Column, float]]])
FULL = "crr"
PAPER_RIVALS = tuple(arm for arm in COLUMNS if arm != FULL)
# The same baselines with the full softmax, and the control that the paper lacks.
STRONG_RIVALS = ("sasrec_ce", "caser_ce", CONTROL, STAGE1)
ASKED = 1.3  # least ratio at which the factor 1.5 counts as reproduced


def measure_cells(study: Study, seen: pl.DataFrame) -> StepResult:
    """Fill the cells, count wins, and compare stage 2 with its control.

    What the trainings saw is the frame ``seen`` of :mod:`okml.offline_rl.experiments.training`.
    """
    profile, result = study.profile, StepResult()
    frames: dict[str, list[pl.DataFrame]] = defaultdict(list)
    # Data sets that count on which an arm was still rising, or may have a better learning rate.
    rising: Counter[str] = Counter()
    unbracketed: Counter[str] = Counter()
    # CRR less its best rival in each cell of data sets with more than one reward.
    gains: dict[tuple[str, ...], list[Estimate]] = {PAPER_RIVALS: [], STRONG_RIVALS: []}
    for settings in profile.datasets:
        jobs, data = quality_jobs(profile, settings), study.data(settings)
        comparison, other = RewardedArms.of(data), RewardedArms.of(data)
        for job in jobs:
            encoder = study.train(job).encoder
            comparison.add(job.arm, job.seed, study.rank(encoder, data))
            other.add(job.arm, job.seed, study.rank(encoder, data, other_rule=True))
        log = pl.lit(settings.log).alias("data")
        of_log = seen.filter(data=settings.log).drop("data")
        table = comparison.table().join(of_log, on="arm", maintain_order="left")
        frames["table"].append(table.select(log, pl.all()))
        frames["wanted"].append(comparison.on_wanted().table().select(log, pl.all()))
        rule = pl.lit("kept" if settings.hide_seen else "hidden").alias("seen items")
        frames["other_rule"].append(other.table().select(log, rule, pl.all()))
        rewards = np.unique(data.episodes.rewards)
        tested = pl.lit(tested_by(rewards)).alias("rewards")
        frames["cells"].append(_cells(comparison, settings.log).with_columns(tested))
        if len(rewards) > 1:
            for rivals, found in gains.items():
                present = [name for name in rivals if name in comparison.arms]
                found += [comparison.less_the_best(FULL, present, cell) for cell in CELLS]
            columns = of_log.select("arm", "still rising", "bracketed")
            for name, still, bracketed in columns.iter_rows():
                rising[name] += still
                unbracketed[name] += not bracketed
        if settings == profile.main:
            popular = rank_popular(study, study.data(settings))["ndcg@10"]
            _measure_gains(result, comparison, popular)
            result.frames["verdict"] = verdict(comparison)
    for metric, rivals in (
        ("experiments_won_share", PAPER_RIVALS),
        ("strong_experiments_won_share", STRONG_RIVALS),
    ):
        count = len(gains[rivals])
        result.measure(metric, cells_won(gains[rivals]).divided(count), f"of {count} cells")
    for kind, counts in (("rising", rising), ("unbracketed", unbracketed)):
        for name, number in counts.items():
            result.log(f"{kind}_{name}", number, exact=True)
    result.frames |= {
        name: pl.concat(parts, how="diagonal_relaxed") for name, parts in frames.items()
    }
    return result


def tested_by(rewards: NDArray[np.float32]) -> str:
    """Return in words what the different rewards of a log, ``[k]``, can test."""
    if len(rewards) == 1:
        return "constant: they test the length of a session, and the cell does not count"
    return ", ".join(f"{reward:g}" for reward in rewards)


def _cells(comparison: RewardedArms, log: str) -> pl.DataFrame:
    """Return a row for each cell: our means and sd in the paper's columns, and its values."""
    text = (resources.files("okml.offline_rl") / "paper_results.yml").read_text(encoding="utf-8")
    paper = PAPER_VALUES.validate_python(yaml.safe_load(text)).get(log, {})
    rows = []
    for cell in CELLS:
        row: dict[str, object] = {"data": log, "metric": cell}
        for arm, column in COLUMNS.items():
            row[column] = None
            if arm in comparison.arms:
                values = [comparison.metric(arm, cell, seed) for seed in comparison.seeds(arm)]
                row[column] = float(np.mean(values))
                row[f"{column} sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            row[f"{column} (paper)"] = paper.get(cell, {}).get(column)
        rows.append(row)
    schema = {name: pl.Float64 for row in rows for name in row if name not in ("data", "metric")}
    return pl.DataFrame(rows, schema_overrides=schema)


def _measure_gains(result: StepResult, comparison: RewardedArms, popular: float) -> None:
    ndcg = "ndcg@10"
    found = comparison.estimate(STAGE1, ndcg)
    result.measure("stage1_ndcg", found)
    result.measure("stage1_ndcg_over_popularity", found.divided(popular))
    result.measure("crr_ndcg", comparison.estimate(FULL, ndcg))
    ratio, supervised = "finetuning_ratio", "finetuning_ratio_supervised"
    result.measure(ratio, comparison.ratio(FULL, STAGE1, ndcg))
    result.measure(supervised, comparison.ratio(CONTROL, STAGE1, ndcg))
    result.compare(ratio, supervised, _ratio_gain(comparison))
    # What the choice of actions adds to unequal weights, at the weights that validation chose.
    for metric, name, other in (
        ("crr_ndcg_difference", FULL, CONTROL),
        ("dealt_ndcg_difference", "crr_dealt", CONTROL),
        ("crr_ndcg_gain_over_dealt", FULL, "crr_dealt"),
    ):
        if {name, other} <= set(comparison.arms):
            result.measure(metric, comparison.difference(name, other, ndcg))
    if "crr_only" in comparison.arms:
        result.measure("rl_only_ratio", comparison.ratio("crr_only", STAGE1, ndcg))
    if "sasrec_bce" in comparison.arms:
        gain = "ndcg_gain_over_sasrec_bce"
        result.measure(gain, comparison.difference(FULL, "sasrec_bce", ndcg))
        if "sasrec_ce" in comparison.arms:
            strong = "sasrec_ce_ndcg_gain_over_bce"
            result.measure(strong, comparison.difference("sasrec_ce", "sasrec_bce", ndcg))
            result.compare(gain, strong, comparison.difference(FULL, "sasrec_ce", ndcg))


def _ratio_gain(comparison: RewardedArms) -> Estimate:
    """Return CRR's NDCG@10 less the control's, over that of stage 1, paired by user."""
    seeds = comparison.common_seeds(FULL, CONTROL)
    rows = {
        name: {seed: comparison.rows(name, "ndcg@10", seed) for seed in seeds}
        for name in (FULL, CONTROL, STAGE1)
    }
    gained = {seed: rows[FULL][seed] - rows[CONTROL][seed] for seed in seeds}
    return estimate_ratio(gained, rows[STAGE1], "users", clusters=comparison.users)


def verdict(comparison: RewardedArms) -> pl.DataFrame:
    """Return the ratios behind the factor 1.5, with intervals, and the verdict."""
    rows = []
    pairs = {
        "CRR over stage 1": (FULL, STAGE1),
        "control over stage 1": (CONTROL, STAGE1),
        "CRR over control": (FULL, CONTROL),
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
    """Return the verdict on the digest's factor 1.5, by the ratios of CRR to both."""
    asked = Bar(low=ASKED)
    if over_stage1.interval is None or asked.allows_none(over_stage1.interval):
        return "not reproduced"
    if not asked.allows_all(over_stage1.interval):
        return "undecided"
    if over_control.above(1):
        return "reproduced"
    return "a gain, and not due to reinforcement learning"
