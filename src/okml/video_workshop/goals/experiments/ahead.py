"""All parts of the theme of goals, computed in parallel ahead of the single experiments."""

from __future__ import annotations

import polars as pl

from okml.steps import StepResult
from okml.training.ahead import train_ahead
from okml.video_workshop.goals.arms import GoalJob
from okml.video_workshop.goals.experiments.constrained import constrained_jobs
from okml.video_workshop.goals.experiments.objectives import objectives_jobs
from okml.video_workshop.goals.experiments.top_k import top_k_jobs
from okml.video_workshop.goals.experiments.traffic import traffic_jobs
from okml.video_workshop.goals.study import GoalsStudy
from okml.video_workshop.settings import VideoWorkshopProfile


def all_jobs(profile: VideoWorkshopProfile) -> list[GoalJob]:
    """Return all experiments of the theme with each seed, about the longest first."""
    tables = (objectives_jobs, constrained_jobs, traffic_jobs, top_k_jobs)
    return [job for table in tables for job in table(profile)]


def train_goals(study: GoalsStudy) -> StepResult:
    """Run the experiments of the theme in parallel, and return their seconds."""
    jobs = all_jobs(study.profile)
    train_ahead(study, jobs)
    rows = [
        {"part": job.name, "seed": job.seed, "seconds": study.train(job).seconds} for job in jobs
    ]
    return StepResult(frames={"costs": pl.DataFrame(rows)})
