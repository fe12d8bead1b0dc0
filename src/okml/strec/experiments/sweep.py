"""Quality by the size of the sample and by the two stages (Figures 4 to 6)."""

from __future__ import annotations

from typing import Any

import polars as pl

from okml.steps import StepResult
from okml.strec.arms import BACKBONE, Arm, rescheduled, sampled
from okml.strec.experiments.quality import cost_row, mean_of_rows, train_and_rank
from okml.strec.schedule import savings
from okml.strec.study import Study

NDCG = "ndcg@10"
BOTH = "both stages"
SOFT, HARD = "stage 1 for all epochs, soft", "stage 1 for all epochs, hard"
BAND = (0.42, 0.77)  # range of sparsity in which the paper's STRec is not below its backbone


def measure_sweep(study: Study) -> StepResult:
    """Train with every schedule, all by recency and some with a learned sample."""
    profile, data = study.profile, study.data(study.profile.main)
    seeds = profile.seeds[: profile.sweep_seeds]
    comparison = study.comparison(data)
    rows: list[dict[str, Any]] = []
    costs: list[dict[str, Any]] = []
    backbone = BACKBONE.name
    short = [Arm(f"newest {n}", length=n) for n in data.settings.short_lengths]
    for seed in seeds:
        for arm in (BACKBONE, *short):
            train_and_rank(study, data, profile.recipe, arm, seed, comparison)
    for name, schedules in (("recency", profile.sweep), ("strec", profile.sweep_learned)):
        for schedule in schedules:
            arm = rescheduled(name, schedule, data.settings, profile.recipe)
            for seed in seeds:
                trained = train_and_rank(study, data, profile.recipe, arm, seed, comparison)
                costs.append(cost_row(data, arm.name, seed, trained))
            left = savings(schedule, data.settings.length)
            rows.append(
                {
                    "arm": arm.name,
                    "sample": "learned" if arm.learns_sample else "recency",
                    "schedule": "-".join(map(str, schedule)),
                    "sparsity": left.sparsity,
                    "tokens kept": left.tokens,
                }
            )
    summary = comparison.summary(backbone)
    sweep = pl.DataFrame(rows).join(summary, on="arm", how="left", maintain_order="left")
    result = StepResult()
    result.frames = {
        "sweep": sweep,
        "backbone": summary.filter(arm=backbone),
        "costs": pl.DataFrame(costs),
    }
    emptiest = min(rows, key=lambda row: float(row["tokens kept"]))["arm"]
    dropped = comparison.difference(backbone, emptiest, NDCG)
    result.measure("ndcg_drop_at_one_token", dropped)
    inside = [
        row["arm"]
        for row in rows
        if row["sample"] == "learned" and BAND[0] <= row["sparsity"] <= BAND[1]
    ]
    if inside:
        gains = {arm: comparison.difference(arm, backbone, NDCG) for arm in comparison.arms[1:]}
        worst = min(inside, key=lambda arm: gains[arm].mean)
        newest = max((arm.name for arm in short), key=lambda arm: gains[arm].mean)
        metric, control = "worst_ndcg_gain_in_band", "newest_items_ndcg_gain"
        result.measure(metric, gains[worst])
        result.measure(control, gains[newest])
        result.compare(metric, control, comparison.difference(worst, newest, NDCG))
    return result


def measure_stages(study: Study) -> StepResult:
    """Measure the contribution of each stage and the effect of the first's length (Figure 6)."""
    profile, data = study.profile, study.data(study.profile.main)
    recipe = profile.recipe
    arm = sampled("strec", data.settings, recipe)
    total = recipe.relaxed_epochs + recipe.hard_epochs
    result, rows, comparison = StepResult(), [], study.comparison(data)
    for seed in profile.seeds[: profile.sweep_seeds]:
        both = study.train(data, recipe, arm, seed)
        first = study.train(data, recipe, arm, seed, epochs=(recipe.relaxed_epochs, 0))
        only = study.train(data, recipe, arm, seed, epochs=(total, 0))
        ranks = {
            BOTH: study.evaluate(both.encoder, data),
            "after stage 1, soft": study.evaluate(first.encoder, data, stage="relaxed"),
            "after stage 1, hard": study.evaluate(first.encoder, data),
            SOFT: study.evaluate(only.encoder, data, stage="relaxed"),
            HARD: study.evaluate(only.encoder, data),
        }
        for count in profile.relaxed_epoch_sweep:
            trained = study.train(data, recipe, arm, seed, epochs=(count, recipe.hard_epochs))
            ranks[f"C = {count}"] = study.evaluate(trained.encoder, data)
        rows += [{"kind": k, "seed": seed, **mean_of_rows(found)} for k, found in ranks.items()]
        for kind in (BOTH, SOFT, HARD):
            comparison.add(kind, seed, ranks[kind])
    gain, soft = "hard_finetuning_ndcg_gain", "soft_mask_ndcg_gain"
    result.measure(gain, comparison.difference(BOTH, HARD, NDCG))
    result.measure(soft, comparison.difference(SOFT, HARD, NDCG))
    result.compare(gain, soft, comparison.difference(BOTH, SOFT, NDCG))
    result.frames["stages"] = pl.DataFrame(rows)
    return result
