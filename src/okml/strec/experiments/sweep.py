"""How small the sample may be, and what the two stages add (Figures 4 to 6)."""

from __future__ import annotations

from typing import Any

import polars as pl

from okml.steps import StepResult
from okml.strec.arms import BACKBONE, rescheduled, sampled
from okml.strec.experiments.quality import cost_row, mean_of_rows, train_and_rank
from okml.strec.schedule import savings
from okml.strec.study import Study

BAND = (0.42, 0.77)  # sparsity between which the paper does not lose to its backbone


def measure_sweep(study: Study) -> StepResult:
    """Train under every schedule, with the sample by recency and (some) with a learned one."""
    profile, data = study.profile, study.data(study.profile.main)
    seeds = profile.seeds[: profile.sweep_seeds]
    comparison = study.comparison(data)
    rows: list[dict[str, Any]] = []
    costs: list[dict[str, Any]] = []
    backbone = BACKBONE.name
    for seed in seeds:
        train_and_rank(study, data, profile.recipe, BACKBONE, seed, comparison)
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
    emptiest = min(rows, key=lambda row: float(row["tokens kept"]))
    for seed in seeds:
        ndcg = {arm: comparison.metric(arm, "ndcg@10", seed) for arm in comparison.arms}
        inside = [
            ndcg[row["arm"]] - ndcg[backbone]
            for row in rows
            if row["sample"] == "learned" and BAND[0] <= row["sparsity"] <= BAND[1]
        ]
        if inside:
            result.log("worst_ndcg_gain_in_band", min(inside), seed=seed)
        result.log("ndcg_drop_at_one_token", ndcg[backbone] - ndcg[emptiest["arm"]], seed=seed)
    return result


def measure_stages(study: Study) -> StepResult:
    """Ask what each stage adds, and how long the first should be (Figure 6)."""
    profile, data = study.profile, study.data(study.profile.main)
    recipe = profile.recipe
    arm = sampled("strec", data.settings, recipe)
    total = recipe.relaxed_epochs + recipe.hard_epochs
    result, rows = StepResult(), []
    for seed in profile.seeds[: profile.sweep_seeds]:
        both = study.train(data, recipe, arm, seed)
        first = study.train(data, recipe, arm, seed, epochs=(recipe.relaxed_epochs, 0))
        only = study.train(data, recipe, arm, seed, epochs=(total, 0))
        ranks = {
            "both stages": study.evaluate(both.encoder, data),
            "after stage 1, soft": study.evaluate(first.encoder, data, stage="relaxed"),
            "after stage 1, hard": study.evaluate(first.encoder, data),
            "stage 1 for all epochs, soft": study.evaluate(only.encoder, data, stage="relaxed"),
            "stage 1 for all epochs, hard": study.evaluate(only.encoder, data),
        }
        for count in profile.relaxed_epoch_sweep:
            trained = study.train(data, recipe, arm, seed, epochs=(count, recipe.hard_epochs))
            ranks[f"C = {count}"] = study.evaluate(trained.encoder, data)
        kept = {kind: mean_of_rows(found) for kind, found in ranks.items()}
        rows += [{"kind": kind, "seed": seed, **means} for kind, means in kept.items()]
        gain = kept["both stages"]["ndcg@10"] - kept["stage 1 for all epochs, soft"]["ndcg@10"]
        result.log("finetuning_ndcg_gain", gain, seed=seed)
    result.frames["stages"] = pl.DataFrame(rows)
    return result
