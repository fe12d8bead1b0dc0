"""All trainings of the chapter, and the learning curves of both stages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import polars as pl

from okml.ledger import estimate_over_seeds
from okml.offline_rl.ahead import Job, train_ahead
from okml.offline_rl.arms import Arm
from okml.offline_rl.settings import ArmName, DataSettings
from okml.offline_rl.study import Study
from okml.steps import StepResult

# The curves of the figure: stage 1, arms that start from it, and CRR from scratch.
CURVES: tuple[ArmName, ...] = ("transformer_only", "crr_only", "bc_continue", "crr", "crr_gamma0")


def all_jobs(study: Study) -> list[Job]:
    """Return every training of a run, the slow ones first."""
    return list(dict.fromkeys(_jobs(study)))


def _jobs(study: Study) -> Iterator[Job]:
    profile = study.profile
    for data in profile.datasets:
        arms = profile.arms_of(data)
        for name in slow_first(arms):
            for seed in arms[name]:
                yield Job(data, study.arm(name), seed)
    for seed in profile.seeds:
        for data, arm in tie_arms(study):
            yield Job(data, arm, seed)
        for arm in start_arms(study):
            yield Job(profile.main, arm, seed)
    for name in profile.funnel_arms:
        for seed in profile.seeds:
            yield Job(profile.funnel, study.arm(name), seed)


def slow_first(names: Iterable[ArmName]) -> list[ArmName]:
    """Return arms with those first that train for the length of both stages."""
    return sorted(names, key=lambda name: not name.startswith(("crr_only", "sasrec", "caser")))


def tie_arms(study: Study) -> list[tuple[DataSettings, Arm]]:
    """Return stage 1 with its own and longer lengths, each with two orders of tied events."""
    return [
        (study.profile.main.model_copy(update={"tie_rule": rule}), study.stage1(epochs))
        for epochs in (None, *study.profile.tie_epochs)
        for rule in ("random", "item")
    ]


def start_arms(study: Study) -> list[Arm]:
    """Return CRR and its control after stages 1 of other lengths."""
    return [
        replace(study.arm(name), name=f"{name} after {epochs}", start_epochs=epochs)
        for epochs in study.profile.start_epochs
        for name in ("bc_continue", "crr")
    ]


def train_everything(study: Study) -> StepResult:
    """Carry out all trainings, and return the validation curves and costs."""
    profile = study.profile
    jobs = all_jobs(study)
    train_ahead(study, jobs)
    arms = profile.arms_of(profile.main)
    curves = pl.concat(
        [_curve(study, name, seed) for name in CURVES if name in arms for seed in arms[name]],
        how="diagonal",
    )
    result = StepResult(frames={"curves": curves, "costs": _costs(study, jobs)})
    result.log("trainings", len(jobs), exact=True)
    best = curves.group_by("arm", "seed").agg(pl.col("ndcg@10").max())
    for seed in profile.seeds:
        peak = dict(best.filter(seed=seed).select("arm", "ndcg@10").iter_rows())
        stage1 = peak["transformer_only"]
        result.log("curve_ratio", peak["crr"] / stage1, seed=seed)
        result.log("curve_ratio_supervised", peak["bc_continue"] / stage1, seed=seed)
    shares = {seed: _share_to_best(curves, seed) for seed in profile.seeds}
    result.measure("updates_to_best", estimate_over_seeds(shares))
    return result


def _curve(study: Study, name: ArmName, seed: int) -> pl.DataFrame:
    """Return the validations of a training; steps of stage 2 continue those of stage 1."""
    arm = study.arm(name)
    trained = study.train(study.profile.main, arm, seed)
    frame = trained.history.frame.filter(pl.col("ndcg@10").is_not_null())
    before = 0
    if arm.start == "stage1":
        # It starts from the best step of stage 1, but all updates of stage 1 count as cost.
        before = study.train(study.profile.main, study.stage1(arm.start_epochs), seed).history.steps
    return frame.select(
        pl.lit(name).alias("arm"),
        pl.lit(arm.label).alias("label"),
        pl.lit(seed).alias("seed"),
        pl.lit(1 if arm.start == "scratch" else 2).alias("stage"),
        (pl.col("step") + before).alias("step"),
        pl.col("seconds"),
        "hr@10",
        "ndcg@10",
    )


def _share_to_best(curves: pl.DataFrame, seed: int) -> float:
    """Return the share of stage 1 after which NDCG@10 reaches 95 % of its best."""
    rows = curves.filter(arm="transformer_only", seed=seed).sort("step")
    reached = rows.filter(pl.col("ndcg@10") >= 0.95 * pl.col("ndcg@10").max())
    return float(reached["step"][0]) / float(rows["step"][-1])


def _costs(study: Study, jobs: list[Job]) -> pl.DataFrame:
    """Return the updates and seconds of each training."""
    rows = []
    for job in jobs:
        trained = study.train(job.data, job.arm, job.seed)
        rows.append(
            {
                "data": job.data.log,
                "arm": job.arm.name,
                "seed": job.seed,
                "updates": trained.history.steps,
                "seconds": trained.seconds,
                "ms an update": 1000 * trained.seconds / trained.history.steps,
            }
        )
    return pl.DataFrame(rows)
