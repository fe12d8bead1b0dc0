"""Quality of every arm and of every other way to few steps (Tables 1 and 2 in small)."""

from __future__ import annotations

from typing import Any

import polars as pl

from okml.add.ahead import seeds_of
from okml.add.arms import ARMS, ArmName
from okml.add.profile_settings import AddProfile
from okml.add.study import Study
from okml.add.workbench import Workbench
from okml.steps import StepResult, announced

MEASURES = ("fd", "accuracy", "spread", "precision", "recall", "coverage", "copied")
KEYS = ("set", "method", "steps", "seed")


def measure_arms(study: Study) -> StepResult:
    """Judge every arm at every number of student steps."""
    profile, rows = study.profile, []
    for settings in profile.sets:
        bench = study.workbench(settings)
        with announced(f"judging the arms on {settings.images}"):
            for name in ARMS:
                for seed in seeds_of(profile, settings, name):
                    student = bench.distil(name, seed).denoiser
                    requests = bench.requests(seed)
                    for steps in profile.student_steps:
                        samples = bench.draw(student, requests, steps)
                        quality = bench.score(samples, requests)
                        rows.append(_row(bench, name, steps, seed, quality.row()))
    frame = pl.DataFrame(rows)
    result = StepResult(frames={"arms": frame})
    main = profile.main.images
    for seed in profile.seeds_of(profile.main):
        _log_arms(result, frame.filter(set=main, seed=seed), seed, prefix(profile))
    return result


def prefix(profile: AddProfile) -> str:
    """Return what metrics of the small sets begin with where published models decide claims."""
    return "small_" if profile.published.rows else ""


def _log_arms(result: StepResult, frame: pl.DataFrame, seed: int, kind: str) -> None:
    """Log what the claims of the ablation compare, where the arms ran with this seed."""

    def value(name: ArmName, steps: int = 1, measure: str = "fd") -> float | None:
        found = frame.filter(method=name, steps=steps)[measure]
        return float(found[0]) if len(found) else None

    default, spread = value("default"), value("default", measure="spread")
    assert default is not None
    assert spread is not None
    ratios: dict[str, ArmName] = {
        "random_init_fd_ratio": "random_student",
        "distillation_only_fd_ratio": "distillation_only",
        "adversarial_only_fd_ratio": "adversarial_only",
        "random_features_fd_ratio": "random_features",
        "longer_fd_ratio": "longer",
    }
    for metric, name in ratios.items():
        if (other := value(name)) is not None:
            result.log(kind + metric, other / default, seed=seed)
    if (other := value("distillation_only", measure="spread")) is not None:
        result.log(kind + "distillation_only_diversity_ratio", other / spread, seed=seed)
    if (other := value("image_kept_at_noise")) is not None:
        result.log(kind + "hidden_image_fd_gain", other - default, seed=seed)
    if (other := value("blind", measure="accuracy")) is not None:
        result.log(kind + "blind_accuracy", other, seed=seed)
    for steps in frame.filter(method="default")["steps"]:
        result.log(f"{kind}student_fd_{steps}", value("default", steps) or 0.0, seed=seed)
    result.log(kind + "student_accuracy", value("default", measure="accuracy") or 0.0, seed=seed)
    result.log(kind + "student_copied", value("default", measure="copied") or 0.0, seed=seed)
    two, four = value("default", 2), value("default", 4)
    if two is not None and four is not None:
        # Both doublings must help: the worse of the two ratios.
        result.log(kind + "fd_ratio_more_steps", max(two / default, four / two), seed=seed)


def measure_methods(study: Study, arms: pl.DataFrame) -> StepResult:
    """Judge the teacher under two solvers, and the other ways to few steps, beside the student."""
    profile, rows = study.profile, []
    for settings in profile.sets:
        bench = study.workbench(settings)
        with announced(f"judging teacher and alternatives on {settings.images}"):
            for seed in profile.seeds_of(settings):
                rows += _teacher_rows(bench, seed)
            for seed in profile.seeds_of(settings)[: settings.alternative_seeds]:
                rows += _alternative_rows(bench, seed)
    students = arms.filter(
        pl.col("method").is_in(("default", "adversarial_only", "distillation_only"))
    )
    frame = pl.concat([pl.DataFrame(rows), students])
    result = StepResult(frames={"methods": frame})
    main = frame.filter(set=profile.main.images)
    for seed in profile.seeds_of(profile.main):
        _log_methods(result, main.filter(seed=seed), seed, prefix(profile))
    return result


def _teacher_rows(bench: Workbench, seed: int) -> list[dict[str, Any]]:
    requests, rows = bench.requests(seed), []
    for steps in bench.settings.teacher_steps:
        quality = bench.score(bench.draw_with_teacher(requests, steps), requests)
        rows.append(_row(bench, "teacher, DDIM", steps, seed, quality.row()))
    for steps in bench.settings.solver_steps:
        samples = bench.draw_with_teacher(requests, steps, "dpm_solver++")
        quality = bench.score(samples, requests)
        rows.append(_row(bench, "teacher, DPM-Solver++", steps, seed, quality.row()))
    return rows


def _alternative_rows(bench: Workbench, seed: int) -> list[dict[str, Any]]:
    requests, rows, chosen = bench.requests(seed), [], bench.settings.alternatives
    for steps in bench.profile.student_steps:
        if "consistency" in chosen:
            samples = bench.draw(bench.consistency(seed).denoiser, requests, steps)
            quality = bench.score(samples, requests)
            rows.append(_row(bench, "consistency", steps, seed, quality.row()))
        if "progressive" in chosen and steps < bench.settings.progressive.from_steps:
            student = bench.progressive(seed, steps).denoiser
            samples = bench.draw_with_teacher(requests, steps, "ddim", student)
            quality = bench.score(samples, requests)
            rows.append(_row(bench, "progressive", steps, seed, quality.row()))
    return rows


def _log_methods(result: StepResult, frame: pl.DataFrame, seed: int, kind: str) -> None:
    def value(method: str, steps: int) -> float:
        return float(frame.filter(method=method, steps=steps)["fd"][0])

    student, one = value("default", 1), value("teacher, DDIM", 1)
    many = value("teacher, DDIM", 25)
    result.log(kind + "teacher_fd_1", one, seed=seed)
    result.log(kind + "teacher_fd_25", many, seed=seed)
    result.log(kind + "fd_ratio_one_step", student / one, seed=seed)
    result.log(kind + "fd_ratio_to_25_steps", student / many, seed=seed)
    result.log(kind + "gap_closed_one_step", (one - student) / (one - many), seed=seed)
    others = frame.filter(pl.col("method").is_in(("consistency", "progressive")), steps=1)
    if len(others):
        best = min(float(value) for value in others["fd"])
        result.log(kind + "best_alternative_fd_ratio", best / student, seed=seed)


def _row(
    bench: Workbench, method: str, steps: int, seed: int, quality: dict[str, float]
) -> dict[str, Any]:
    return {"set": bench.images.name, "method": method, "steps": steps, "seed": seed, **quality}


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
