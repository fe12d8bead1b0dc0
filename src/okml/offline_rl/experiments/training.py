"""All trainings of the chapter, and the learning curves of both stages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl

from okml.ledger import estimate_over_seeds
from okml.offline_rl.arms import ARMS, CONTROL, STAGE1, AnyJob, Job, all_jobs, quality_jobs
from okml.offline_rl.study import Study
from okml.offline_rl.trainer import stage_of
from okml.seqrec.convergence import last_slope, still_rising
from okml.steps import StepResult
from okml.training import History
from okml.training.ahead import Trains, train_ahead

# The curves of the figure: stage 1, arms that start from it, and CRR from scratch.
CURVES = (STAGE1, "crr_only", CONTROL, "crr", "crr_gamma0")


def train_all(study: Study) -> list[AnyJob]:
    """Carry out all trainings of a run at a time; the first step that needs any of them does it."""
    jobs = all_jobs(study.profile)
    of_either_kind: Trains[AnyJob] = study
    train_ahead(of_either_kind, jobs)
    return jobs


def train_everything(study: Study) -> StepResult:
    """Carry out all trainings, and return the validation curves and costs."""
    profile = study.profile
    jobs = train_all(study)
    histories = {job: study.train(job).history for job in jobs}
    compared = [job for data in profile.datasets for job in quality_jobs(profile, data)]
    in_shop = [Job(profile.funnel, name, profile.seeds[0]) for name in profile.funnel_arms]
    shown = [job for job in compared if job.data == profile.main and job.arm in CURVES]
    shown.sort(key=lambda job: CURVES.index(job.arm))
    curves = pl.concat([_curve(job, histories) for job in shown], how="diagonal")
    result = StepResult(
        frames={
            "curves": curves,
            "costs": _costs({job: history for job, history in histories.items() if not job.rate}),
            "seen": _describe(study, compared, histories),
            "rates": searched_rates(study, [*compared, *in_shop]),
        }
    )
    best = curves.group_by("arm", "seed").agg(pl.col("ndcg@10").max())
    for seed in profile.seeds:
        peak = dict(best.filter(seed=seed).select("arm", "ndcg@10").iter_rows())
        stage1 = peak[STAGE1]
        result.log("curve_ratio", peak["crr"] / stage1, seed=seed)
        result.log("curve_ratio_supervised", peak[CONTROL] / stage1, seed=seed)
    shares = {seed: _share_to_best(curves, seed) for seed in profile.seeds}
    result.measure("updates_to_best", estimate_over_seeds(shares))
    return result


def _curve(job: Job, histories: Mapping[AnyJob, History]) -> pl.DataFrame:
    """Return the validations of a training; steps of stage 2 continue those of stage 1."""
    arm, history = ARMS[job.arm], histories[job]
    # Stage 2 starts from the best step of stage 1, but all updates of stage 1 count as cost.
    before = histories[job.stage1].steps if arm.from_stage1 else 0
    return history.frame.filter(pl.col("ndcg@10").is_not_null()).select(
        pl.lit(arm.name).alias("arm"),
        pl.lit(arm.label).alias("label"),
        pl.lit(job.seed).alias("seed"),
        pl.lit(2 if arm.from_stage1 else 1).alias("stage"),
        pl.col("step") + before,
        pl.col("seconds"),
        "hr@10",
        "ndcg@10",
    )


def _share_to_best(curves: pl.DataFrame, seed: int) -> float:
    """Return the share of stage 1 after which NDCG@10 reaches 95 % of its best."""
    rows = curves.filter(arm=STAGE1, seed=seed).sort("step")
    reached = rows.filter(pl.col("ndcg@10") >= 0.95 * pl.col("ndcg@10").max())
    return float(reached["step"][0]) / float(rows["step"][-1])


def _costs(histories: Mapping[AnyJob, History]) -> pl.DataFrame:
    """Return the updates and seconds of each training."""
    rows = []
    for job, history in histories.items():
        seconds = float(history.frame["seconds"][-1])
        rows.append(
            {
                "data": job.data.log,
                "arm": job.name,
                "seed": job.seed,
                "updates": history.steps,
                "seconds": seconds,
                "ms an update": 1000 * seconds / history.steps,
            }
        )
    return pl.DataFrame(rows)


def _describe(
    study: Study, jobs: Iterable[Job], histories: Mapping[AnyJob, History]
) -> pl.DataFrame:
    """Return whether trainings of each arm of each log could do better; means over seeds.

    No arm may see more targets than another, and one that still rises when its epochs are over
    could do better with more of them. So its slope stands beside its result, and a claim that
    compares an arm which was still rising is not decided. Nor is one that compares an arm whose
    best learning rate may lie beyond those that were tried.

    Columns: ``data``; ``arm``; ``rate``, the factor of its learning rates that validation chose;
    ``bracketed``, whether no rate beyond those that were tried may be better; ``targets`` seen,
    with those of stage 1 where the arm starts from it; ``slope``, see
    :func:`~okml.seqrec.convergence.last_slope`, null where a curve is too short; and ``still
    rising``, see :func:`~okml.seqrec.convergence.still_rising`.
    """
    rows: list[dict[str, object]] = []
    ended: dict[tuple[str, str], list[History]] = defaultdict(list)
    for job in jobs:
        ended[job.data.log, job.arm].append(histories[job])
        stages = [job, job.stage1] if ARMS[job.arm].from_stage1 else [job]
        rows.append(
            {
                "data": job.data.log,
                "arm": job.arm,
                "rate": study.rate(job),
                "bracketed": study.tried(job).bracketed,
                "targets": sum(_targets(study, stage, histories[stage]) for stage in stages),
                "slope": last_slope(histories[job]),
            }
        )
    frame = pl.DataFrame(rows, schema_overrides={"slope": pl.Float64}, infer_schema_length=None)
    means = frame.group_by("data", "arm", maintain_order=True).agg(
        pl.col("rate").mean(), pl.col("bracketed").all(), pl.col("targets", "slope").mean()
    )
    still = [still_rising(ended[key]) for key in means.select("data", "arm").iter_rows()]
    return means.with_columns(pl.Series("still rising", still))


def searched_rates(study: Study, jobs: Iterable[Job]) -> pl.DataFrame:
    """Return the validation by which each arm's learning rate was chosen.

    Columns: ``data``; ``label``; ``start``, the NDCG@10 of stage 1 on validation, null for an arm
    from random weights; and for each factor of the learning rates the best NDCG@10 of trainings
    with it, null where an arm did not try it. Values are means over seeds.
    """
    rows: list[dict[str, object]] = []
    factors: set[float] = set()
    for job in dict.fromkeys(job.chooser(study.profile) for job in jobs):
        arm, tried = ARMS[job.arm], study.tried(job)
        start = tried.untrained if arm.from_stage1 else None
        of_factors = {f"{factor:.2g}": value for factor, value in tried.values.items()}
        rows.append({"data": job.data.log, "label": arm.label, "start": start, **of_factors})
        factors |= set(tried.values)
    values = dict.fromkeys(("start", *(f"{each:.2g}" for each in sorted(factors))), pl.Float64)
    return pl.DataFrame(rows, schema={"data": pl.String, "label": pl.String, **values})


def _targets(study: Study, job: Job, history: History) -> float:
    """Return the number of targets of all updates of a training."""
    data = study.data(job.data, job.seed)
    windows = data.windows()
    batch = stage_of(job.data, ARMS[job.arm], job.stage1_epochs, 1.0).batch
    epochs = history.steps / -(-len(windows) // batch)
    first, stop = windows.bounds(data.interactions, np.arange(len(windows)))
    return epochs * int((stop - first - 1).sum())
