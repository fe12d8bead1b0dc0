"""All trainings of the chapter, and their learning curves."""

from __future__ import annotations

import polars as pl

from okml.seqrec.convergence import MONITOR, validations
from okml.steps import StepResult
from okml.strec.arms import Job, all_jobs, quality_jobs, sweep_jobs
from okml.strec.experiments.quality import with_starts
from okml.strec.study import Study
from okml.training.ahead import train_ahead


def train_everything(study: Study) -> StepResult:
    """Carry out all trainings, and return how their validation went on the first data set."""
    profile = study.profile
    jobs = all_jobs(profile)
    train_ahead(study, jobs)
    shown = dict.fromkeys([*quality_jobs(profile, profile.main), *sweep_jobs(profile)])
    curves = [_curve(study, job) for job in with_starts(study, shown)]
    result = StepResult(frames={"curves": pl.concat(curves)})
    result.log("trainings", len(jobs), exact=True)
    return result


def _curve(study: Study, job: Job) -> pl.DataFrame:
    """Return NDCG@10 on the validation rows by step; a second stage goes on from the first."""
    parts, before = [], 0
    for part in study.train(job).history:
        steps, values = validations(part)
        parts.append(pl.DataFrame({"step": steps + before, MONITOR: values}))
        before += part.steps
    constants = {"encoder": job.arm.name, "training": job.arm.training, "seed": job.seed}
    return pl.concat(parts).select(*(pl.lit(v).alias(k) for k, v in constants.items()), pl.all())
