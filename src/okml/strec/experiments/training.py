"""All trainings of the chapter, and their learning curves."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from okml.steps import StepResult
from okml.strec.ahead import Job, train_ahead
from okml.strec.arms import BACKBONE, mixer_arms, quality_arms, rescheduled, sampled
from okml.strec.settings import StrecProfile
from okml.strec.study import Study
from okml.training import History


def all_jobs(profile: StrecProfile) -> list[Job]:
    """Return every training of a run of the profile, the slow ones first."""
    return list(dict.fromkeys(_jobs(profile)))


def _jobs(profile: StrecProfile) -> Iterator[Job]:
    main, recipe = profile.main, profile.recipe
    few = profile.seeds[: profile.sweep_seeds]
    for arm in mixer_arms(profile):
        yield Job(main, profile.seeds[0], recipe, arm)
    for data in profile.datasets:
        for seed in profile.seeds:
            for layers in profile.causal.layers:
                yield Job(data, seed, layers=layers)
            for arm in quality_arms(profile, data):
                yield Job(data, seed, recipe, arm)
        for name in profile.references:
            yield Job(data, profile.seeds[0], reference=name)
    for other in profile.recipes[1:]:
        for seed in profile.seeds[: other.seeds]:
            for arm in (BACKBONE, sampled("strec", main, other)):
                yield Job(main, seed, other, arm)
    strec = sampled("strec", main, recipe)
    for seed in few:
        for schedule in profile.sweep:
            yield Job(main, seed, recipe, rescheduled("recency", schedule, main, recipe))
        for schedule in profile.sweep_learned:
            yield Job(main, seed, recipe, rescheduled("strec", schedule, main, recipe))
        yield Job(main, seed, recipe, strec, (recipe.relaxed_epochs, 0))
        yield Job(main, seed, recipe, strec, (recipe.relaxed_epochs + recipe.hard_epochs, 0))
        for count in profile.relaxed_epoch_sweep:
            yield Job(main, seed, recipe, strec, (count, recipe.hard_epochs))


def train_everything(study: Study) -> StepResult:
    """Carry out all trainings, and return the learning curves of the first seed."""
    profile, data = study.profile, study.data(study.profile.main)
    jobs = all_jobs(profile)
    train_ahead(study, jobs)
    seed = profile.seeds[0]
    curves = [_curve("warm start (causal)", study.warm_start(data, profile.recipe, seed).history)]
    for arm in quality_arms(profile, profile.main)[:4]:
        history = study.train(data, profile.recipe, arm, seed).history
        curves.append(_curve(arm.name, history))
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
