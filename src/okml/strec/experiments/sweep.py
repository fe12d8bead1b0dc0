"""Quality by the size of the sample and by the two stages (Figures 4 to 6)."""

from __future__ import annotations

from typing import Any

import polars as pl

from okml.seqrec.comparison import RankedArms
from okml.seqrec.ranking import Ranks
from okml.steps import StepResult
from okml.strec.arms import BACKBONE, Job, stage_jobs, sweep_jobs
from okml.strec.experiments.quality import (
    cost_frame,
    cost_rows,
    mean_of_rows,
    mean_validations,
    ranked_arms,
    rising,
    summary,
)
from okml.strec.schedule import savings
from okml.strec.study import Study

NDCG = "ndcg@10"
BOTH = "both stages"
SOFT, HARD = "stage 1 for all epochs, soft", "stage 1 for all epochs, hard"
BAND = (0.42, 0.77)  # range of sparsity in which the paper's STRec is not below its backbone


def measure_sweep(study: Study) -> StepResult:
    """Train with every schedule, all by recency and some with a learned sample."""
    length, backbone = study.profile.main.length, BACKBONE.name
    jobs = sweep_jobs(study.profile)
    ranked = ranked_arms(study, jobs)
    rows: list[dict[str, Any]] = []
    for arm in dict.fromkeys(job.arm for job in jobs):
        if arm.schedule is None:
            continue
        left = savings(arm.schedule, length)
        rows.append(
            {
                "arm": arm.name,
                "sample": "learned" if arm.learns_sample else "recency",
                "schedule": "-".join(map(str, arm.schedule)),
                "sparsity": left.sparsity,
                "tokens kept": left.tokens,
            }
        )
    means = summary(ranked, backbone)
    result = StepResult()
    result.frames = {
        "sweep": pl.DataFrame(rows).join(means, on="arm", how="left", maintain_order="left"),
        "backbone": means.filter(arm=backbone),
        "costs": cost_frame(cost_rows(study, (job for job in jobs if job.arm.schedule))),
    }
    emptiest = min(rows, key=lambda row: row["tokens kept"])["arm"]
    result.measure("ndcg_drop_at_one_token", ranked.difference(backbone, emptiest, NDCG))
    result.log("rising_at_one_token", rising(study, jobs, (backbone, emptiest)), exact=True)
    inside = [
        row["arm"]
        for row in rows
        if row["sample"] == "learned" and BAND[0] <= row["sparsity"] <= BAND[1]
    ]
    if inside:
        # A choice on the test rows would find the ones that their sampling error favors.
        validated = mean_validations(cost_rows(study, jobs))
        worst = min(inside, key=lambda arm: validated[arm])
        short = dict.fromkeys(job.arm.name for job in jobs if job.arm.length is not None)
        newest = max(short, key=lambda arm: validated[arm])
        metric, control = "worst_ndcg_gain_in_band", "newest_items_ndcg_gain"
        result.measure(metric, ranked.difference(worst, backbone, NDCG))
        result.measure(control, ranked.difference(newest, backbone, NDCG))
        result.log("rising_in_band", rising(study, jobs, (backbone, newest, *inside)), exact=True)
        result.compare(metric, control, ranked.difference(worst, newest, NDCG))
    return result


def measure_stages(study: Study) -> StepResult:
    """Measure the contribution of each stage and the effect of the first's length (Figure 6)."""
    profile, data = study.profile, study.data(study.profile.main)
    result, rows, ranked = StepResult(), [], RankedArms(data.test.user)
    judged: list[Job] = []
    for seed in profile.seeds:
        jobs = stage_jobs(profile, seed)
        ranks: dict[str, Ranks] = {}
        judged += [jobs[BOTH], jobs[SOFT.removesuffix(", soft")]]
        for name, job in jobs.items():
            kinds = {name: study.ranks(job)}
            if job.stays_soft or not job.stages[1]:  # soft in training, hard at inference
                soft = study.ranks(job, stage="relaxed")
                kinds = {f"{name}, soft": soft, f"{name}, hard": kinds[name]}
            ranks |= kinds
            trained = study.train(job)
            ended = {"rate": trained.rate, "start kept": trained.start_kept}
            rows += [
                {"kind": kind, "seed": seed, **mean_of_rows(found), **ended}
                for kind, found in kinds.items()
            ]
        for kind in (BOTH, SOFT, HARD):
            ranked.add(kind, seed, ranks[kind])
    gain, masked = "hard_finetuning_ndcg_gain", "soft_mask_ndcg_gain"
    result.measure(gain, ranked.difference(BOTH, HARD, NDCG))
    result.measure(masked, ranked.difference(SOFT, HARD, NDCG))
    result.compare(gain, masked, ranked.difference(BOTH, SOFT, NDCG))
    result.log("rising_stages", rising(study, judged), exact=True)
    result.frames["stages"] = pl.DataFrame(rows)
    return result
