"""The trainings of the chapter, with their curves and costs."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import polars as pl

from okml.add.arms import Job, all_jobs, distillations, searches, seeds_of
from okml.add.comparison import prefix
from okml.add.convergence import distances, last_fall, still_falling_in_any
from okml.add.experiments.published import check_prerequisites
from okml.add.profile_settings import SetSettings
from okml.add.study import Study
from okml.add.workbench import TrainedDenoiser, Workbench
from okml.ledger import estimate_positive_over_seeds
from okml.steps import StepResult, announced
from okml.training import History
from okml.training.ahead import train_ahead

# Kept of every distillation, and of the default one with the first seed.
GRADIENTS = "student/gradient_ratio"
RATIO = {GRADIENTS: "adversarial over distillation gradient"}
LOSSES = {
    "heads/hinge": "hinge loss of the heads",
    "student/adversarial": "adversarial loss of the student",
    "student/distillation": "distillation loss",
    "student/noise_spread": "spread of two noises",
}
DISTANCE = "FD of one step"
RATES = {
    "set": pl.String, "method": pl.String, "rate": pl.Float64, "FD": pl.Float64,
    "chosen": pl.Boolean, "bracketed": pl.Boolean,
}  # fmt: skip


def train_everything(study: Study) -> StepResult:
    """Train teachers, judges, arms and alternatives; keep their curves."""
    check_prerequisites(study)  # what is missing would stop the run days later
    with announced("training ahead"):
        train_ahead(study, all_jobs(study.profile))
    result, curves, costs = StepResult(), [], []
    for settings in study.profile.sets:
        bench = study.workbench(settings)
        for seed in study.profile.seeds_of(settings):
            teacher = bench.train_teacher(seed)
            curves.append(_curve(bench, "teacher", seed, teacher, {"train/loss": "denoising loss"}))
            costs.append(_cost(bench, "teacher", seed, teacher, settings.teacher.batch))
    for job in distillations(study.profile):
        bench = study.workbench(job.settings)
        trained = study.train(job)
        assert isinstance(trained, TrainedDenoiser)
        shown = job.what == "default" and job.seed == study.profile.seeds[0]
        if job.steps == 1:
            curves += [
                _curve(bench, job.what, job.seed, trained, RATIO | LOSSES if shown else RATIO),
                _distances(bench, job, trained),
            ]
        batch = job.settings.distillation.batch
        costs.append(_cost(bench, job.title, job.seed, trained, batch))
    for settings in study.profile.sets:
        _measure_gradients(result, study, settings)
    result.frames |= {
        "curves": pl.concat(curves),
        "costs": pl.DataFrame(costs),
        "ends": pl.DataFrame(_ends(study)),
        "rates": pl.DataFrame(
            [row for job in searches(study.profile) for row in _tried(study, job)], RATES
        ),
    }
    return result


def _measure_gradients(result: StepResult, study: Study, settings: SetSettings) -> None:
    """Measure how many times as long the adversarial gradient is as that of distillation."""
    bench = study.workbench(settings)
    for arm in ("default", "summed_distance"):
        frames = {
            seed: bench.student(arm, seed).history.frame
            for seed in seeds_of(study.profile, settings, arm)
        }
        means = {
            seed: float(np.exp(np.log(frame[GRADIENTS].drop_nulls().to_numpy()).mean()))
            for seed, frame in frames.items()
            if GRADIENTS in frame.columns  # a short training ends before it is measured
        }
        if means:
            name = f"{prefix(study.profile, settings)}{arm}_gradient_ratio"
            result.measure(name, estimate_positive_over_seeds(means))


def _ends(study: Study) -> list[dict[str, object]]:
    """Return how near the students of each method came, and whether they still came nearer."""
    trained: dict[tuple[str, str], list[tuple[History, ...]]] = defaultdict(list)
    for job in distillations(study.profile):
        student = study.train(job)
        assert isinstance(student, TrainedDenoiser)
        trained[job.settings.images, job.title].append(student.rounds)
    rows: list[dict[str, object]] = []
    for (images, method), students in trained.items():
        histories = [rounds[-1] for rounds in students]
        curves = [distances(history)[1] for history in histories]
        rows.append(
            {
                "set": images,
                "training": method,
                "seeds": len(histories),
                "FD at the end": float(np.mean([curve[-1] for curve in curves])),
                "nearest": float(np.mean([curve.min() for curve in curves])),
                "fall in the last tenth": last_fall(histories),
                "still falling": still_falling_in_any(students),
            }
        )
    return rows


def _tried(study: Study, job: Job) -> list[dict[str, object]]:
    """Return what a search of a learning rate has found, the untrained student as a rate of zero.

    The best rate is bracketed if no rate beyond those tried may be better.
    """
    bench = study.workbench(job.settings)
    tried = bench.tried(job.what)
    return [
        {
            "set": bench.images.name,
            "method": job.what,
            "rate": rate,
            "FD": -value,
            "chosen": rate == tried.best,
            "bracketed": tried.bracketed if rate == tried.best else None,
        }
        for rate, value in sorted({0.0: tried.untrained, **tried.values}.items())
    ]


def _curve(
    bench: Workbench, what: str, seed: int, trained: TrainedDenoiser, columns: dict[str, str]
) -> pl.DataFrame:
    frame = trained.history.frame
    present = {name: title for name, title in columns.items() if name in frame.columns}
    long = frame.select("step", *present).unpivot(index="step", variable_name="term")
    return long.drop_nulls().select(
        pl.lit(bench.images.name).alias("set"),
        pl.lit(what).alias("training"),
        pl.lit(seed).alias("seed"),
        pl.col("term").replace(present),
        "step",
        pl.col("value").cast(pl.Float64),
    )


def _distances(bench: Workbench, job: Job, trained: TrainedDenoiser) -> pl.DataFrame:
    updates, values = distances(trained.history)
    return pl.DataFrame({"step": updates.astype(int), "value": values}).select(
        pl.lit(bench.images.name).alias("set"),
        pl.lit(job.what).alias("training"),
        pl.lit(job.seed).alias("seed"),
        pl.lit(DISTANCE).alias("term"),
        "step",
        "value",
    )


def _cost(
    bench: Workbench, what: str, seed: int, trained: TrainedDenoiser, batch: int
) -> dict[str, object]:
    return {
        "set": bench.images.name,
        "training": what,
        "seed": seed,
        "steps": trained.updates,
        "images seen": trained.updates * batch,
        "seconds": trained.seconds,
    }
