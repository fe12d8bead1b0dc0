"""Quality of every arm and of every other way to few steps (Tables 1 and 2 in small)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final, cast

import polars as pl

from okml.add.arms import ARMS, arm_jobs, method_jobs
from okml.add.comparison import Drawn, Jackknife, least, most
from okml.add.profile_settings import ArmName
from okml.add.study import Study
from okml.add.workbench import Other, Workbench
from okml.steps import StepResult, announced

MEASURES = ("fd", "accuracy", "spread", "precision", "recall", "coverage", "copied")
STUDENT: Drawn = ("default", 1)
TEACHER: Final = "teacher, DDIM"
DISTILLATION_ALONE: tuple[ArmName, ...] = ("distillation_only", "distillation_faster")
ALONE: dict[str, ArmName] = {  # metrics that are ratios of an arm's distance to the default's
    "adversarial_only_fd_ratio": "adversarial_only",
    "longer_fd_ratio": "longer",
}


def measure_arms(study: Study) -> StepResult:
    """Judge every arm at every number of student steps."""
    profile, result, rows = study.profile, StepResult(), []
    with announced("judging the arms"):
        for job in arm_jobs(profile):
            bench = study.workbench(job.settings)
            for steps in profile.student_steps:
                rows.append(_row(bench, job.what, steps, job.seed))
        for settings in profile.sets:
            _compare_arms(result, study.workbench(settings))
    result.frames["arms"] = pl.DataFrame(rows)
    return result


def _compare_arms(result: StepResult, bench: Workbench) -> None:
    """Measure the metrics of the ablation's claims, as far as their arms run on this set."""
    compare = Jackknife(bench)
    compare.measure(
        result,
        "random_init_fd_ratio",
        compare.ratio(("random_student", 1), STUDENT),
        "random_student",
        control=("teacher_fd_ratio", compare.ratio((TEACHER, 1), STUDENT)),
    )
    _compare_distillation_alone(result, compare)
    compare.measure(
        result,
        "random_features_fd_ratio",
        least(*(compare.ratio(("random_features", n), ("default", n)) for n in (1, 2, 4))),
        "random_features",
    )
    kept, hidden = compare.fd(("image_kept_at_noise", 1)), compare.fd(STUDENT)
    compare.measure(
        result,
        "hidden_image_fd_gain",
        lambda seed: kept(seed) - hidden(seed),
        "image_kept_at_noise",
    )
    for metric, name in ALONE.items():
        compare.measure(result, metric, compare.ratio((name, 1), STUDENT), name)
    for steps in bench.profile.student_steps:
        compare.measure(result, f"student_fd_{steps}", compare.fd(("default", steps)))
    doublings = [compare.ratio(("default", 2 * n), ("default", n)) for n in (1, 2)]
    compare.measure(result, "fd_ratio_more_steps", most(*doublings))  # both must help


def _compare_distillation_alone(result: StepResult, compare: Jackknife) -> None:
    """Measure the better of its learning rates, by distance and by spread."""
    rates = [name for name in DISTILLATION_ALONE if compare.seeds(name)]
    if not rates:
        return
    compare.measure(
        result,
        "distillation_alone_fd_ratio",
        least(*(compare.ratio((name, 1), STUDENT) for name in rates)),
        *rates,
    )
    compare.measure(
        result,
        "distillation_alone_diversity_ratio",
        most(*(compare.spread_ratio((name, 1), STUDENT) for name in rates)),
        *rates,
        control=("teacher_diversity_ratio", compare.spread_ratio((TEACHER, 25), STUDENT)),
    )


def measure_methods(study: Study) -> StepResult:
    """Judge the teacher under two solvers, and the other ways to few steps, beside the student."""
    profile, result, rows = study.profile, StepResult(), []
    for settings in profile.sets:
        bench = study.workbench(settings)
        with announced(f"judging teacher and alternatives on {settings.images}"):
            rows += _rows_of_teacher(bench)
            rows += [
                _row(bench, job.what, steps, job.seed)
                for job in method_jobs(profile)
                if job.settings == settings
                for steps in profile.student_steps
                if job.what != "progressive" or steps < settings.progressive.from_steps
            ]
            _compare_methods(result, bench)
    result.frames["methods"] = pl.DataFrame(rows)
    return result


def _rows_of_teacher(bench: Workbench) -> list[dict[str, Any]]:
    settings = bench.settings
    calls: list[Drawn] = [
        *((TEACHER, steps) for steps in settings.teacher_steps),
        *(("teacher, DPM-Solver++", steps) for steps in settings.solver_steps),
    ]
    seeds = bench.profile.seeds_of(settings)
    return [_row(bench, method, steps, seed) for method, steps in calls for seed in seeds]


def _compare_methods(result: StepResult, bench: Workbench) -> None:
    """Measure the student beside its teacher, beside other distillations, and beside Gaussians."""
    compare = Jackknife(bench)
    for ending, steps in (("one_step", 1), ("to_25_steps", 25)):
        teacher: Drawn = (TEACHER, steps)
        compare.measure(result, f"teacher_fd_{steps}", compare.fd(teacher))
        compare.measure(
            result,
            f"fd_ratio_{ending}",
            compare.ratio(STUDENT, teacher),
            control=(f"cheap_fd_ratio_{ending}", compare.ratio(("class Gaussians", 1), teacher)),
        )
    if others := bench.settings.alternatives:
        best = least(*(compare.ratio((name, 1), STUDENT) for name in others))
        compare.measure(result, "best_alternative_fd_ratio", best, *others)


def _row(bench: Workbench, method: str, steps: int, seed: int) -> dict[str, Any]:
    judged = bench.judged(cast("ArmName | Other", method), steps, seed)
    row = {"set": bench.images.name, "method": method, "steps": steps, "seed": seed}
    return row | asdict(judged.quality)


def summary(frame: pl.DataFrame) -> pl.DataFrame:
    """Return means over seeds, with the standard deviation of FD, in the order of the rows."""
    return frame.group_by("set", "method", "steps", maintain_order=True).agg(
        pl.col("seed").count().alias("seeds"),
        *(pl.col(measure).mean() for measure in MEASURES),
        pl.col("fd").std().alias("sd of fd"),
    )


def wide(frame: pl.DataFrame, arms: bool = True) -> pl.DataFrame:
    """Return a row a method, FD and spread by number of steps in columns."""
    means = summary(frame)
    if arms:
        titles = {name: arm.title for name, arm in ARMS.items()}
        parts = {name: arm.part for name, arm in ARMS.items()}
        means = means.with_columns(
            pl.col("method").replace(titles).alias("arm"),
            pl.col("method").replace(parts).alias("Table 1"),
        )
    index = ["Table 1", "arm", "seeds"] if arms else ["method", "seeds"]
    values = {"fd": "FD", "sd of fd": "sd of FD", "spread": "spread"}
    found = means.pivot("steps", index=["set", *index], values=list(values))
    headings = {
        f"{value}_{steps}": f"{heading}, {steps} step{'s' if steps > 1 else ''}"
        for value, heading in values.items()
        for steps in sorted(means["steps"].unique())
    }
    return found.select("set", *index, *headings).rename(headings)
