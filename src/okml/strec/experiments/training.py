"""All trainings of the chapter, and their learning curves."""

from __future__ import annotations

import polars as pl

from okml.steps import StepResult
from okml.strec.arms import all_jobs, quality_jobs, warm_start
from okml.strec.study import Study
from okml.training import History
from okml.training.ahead import train_ahead

CURVES = 4  # arms in the figure of learning curves, after the warm start


def train_everything(study: Study) -> StepResult:
    """Carry out all trainings, and return the learning curves of the first seed."""
    profile = study.profile
    jobs = all_jobs(profile)
    train_ahead(study, jobs)
    shown = [job for job in quality_jobs(profile, profile.main) if job.seed == profile.seeds[0]]
    start = warm_start(profile, shown[0])
    assert start is not None  # the settings require it
    curves = [_curve("warm start", study.train(start).history)]
    curves += [_curve(job.arm.name, study.train(job).history) for job in shown[:CURVES]]
    result = StepResult(frames={"curves": pl.concat(curves)})
    result.log("trainings", len(jobs), exact=True)
    return result


def _curve(name: str, history: tuple[History, ...]) -> pl.DataFrame:
    """Return the training loss by step; steps of a second stage continue those of the first."""
    parts, before = [], 0
    for stage, part in enumerate(history, 1):
        logged = part.frame.select("step", loss="train/loss").drop_nulls()
        parts.append(
            logged.select(
                pl.lit(name).alias("encoder"),
                pl.lit(stage).alias("stage"),
                pl.col("step") + before,
                "loss",
            )
        )
        before += part.steps
    return pl.concat(parts)
