"""Quality of every arm and of every other way to few steps (Tables 1 and 2 in small)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import polars as pl

from okml.add.arms import ARMS, RIVALS, arm_jobs, drawn_steps, method_jobs
from okml.add.comparison import Drawn, Jackknife, least, most
from okml.add.profile_settings import SetSettings
from okml.add.study import Study
from okml.add.workbench import Workbench
from okml.steps import StepResult, announced

MEASURES = (
    "fd", "accuracy", "alignment", "spread", "precision", "recall", "coverage", "told_apart",
)  # fmt: skip
STUDENT: Drawn = ("default", 1)
TEACHER = "teacher, DDIM"
SOLVER = "teacher, DPM-Solver++"
FLOOR: Drawn = ("training images", 1)
GAUSSIANS: Drawn = ("class Gaussians", 1)
# Measured on the first set of the profile whose features were trained elsewhere.
PUBLISHED_FEATURES = "published_features_fd_ratio"
CAPTIONS = "alignment_gain_over_25_steps"  # measured on the first set with free captions


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
    compare.check_trainings(result, "student", "default")
    compare.check_trainings(result, "random_init", "default", "random_student")
    _compare_distillation_alone(result, compare)
    features = least(*(compare.ratio(("random_features", n), ("default", n)) for n in (1, 2, 4)))
    compare.measure(result, "random_features_fd_ratio", features, "random_features")
    if bench.settings.eye == "efficientnet" and PUBLISHED_FEATURES not in result.metrics:
        compare.measure(result, PUBLISHED_FEATURES, features, "random_features", prefixed=False)
        seen = "default", "random_features"
        compare.check_trainings(result, "published_features", *seen, prefixed=False)
    kept, hidden = compare.fd(("image_kept_at_noise", 1)), compare.fd(STUDENT)
    compare.measure(
        result,
        "hidden_image_fd_gain",
        lambda seed: kept(seed) - hidden(seed),
        "image_kept_at_noise",
    )
    compare.check_trainings(result, "hidden_image", "default", "image_kept_at_noise")
    for steps in bench.profile.student_steps:
        compare.measure(result, f"student_fd_{steps}", compare.fd(("default", steps)))
    doublings = [compare.ratio(("default", 2 * n), ("default", n)) for n in (1, 2)]
    compare.measure(result, "fd_ratio_more_steps", most(*doublings))  # both must help
    for name, doubling in zip(("two_to_one", "four_to_two"), doublings, strict=True):
        compare.measure(result, f"fd_ratio_{name}", doubling)
    _compare_parts(result, compare)


def _compare_parts(result: StepResult, compare: Jackknife) -> None:
    """Measure arms that change how much distillation and the rates of learning count."""
    for arm in ("adversarial_only", "summed_distance", "decayed"):
        for steps in compare.bench.profile.student_steps:
            ratio = compare.ratio((arm, steps), ("default", steps))
            compare.measure(result, f"{arm}_fd_ratio_{steps}", ratio, arm)
        compare.check_trainings(result, arm, "default", arm)
    if others := compare.bench.settings.alternatives:
        best = least(*(compare.ratio((name, 1), ("decayed", 1)) for name in others))
        compare.measure(result, "best_alternative_over_decayed", best, "decayed", *others)
        compare.check_trainings(result, "alternatives_over_decayed", "decayed", *others)


def _compare_distillation_alone(result: StepResult, compare: Jackknife) -> None:
    """Measure its distance and its spread, or those of its teacher where no training is better.

    The untouched teacher is the student of a learning rate of zero, below all that are tried.
    """
    alone: tuple[Drawn, Drawn] = ("distillation_only", 1), (TEACHER, 1)
    compare.measure(
        result,
        "distillation_alone_fd_ratio",
        least(*(compare.ratio(drawn, STUDENT) for drawn in alone)),
        "distillation_only",
    )
    compare.measure(
        result,
        "distillation_alone_diversity_ratio",
        most(*(compare.spread_ratio(drawn, STUDENT) for drawn in alone)),
        "distillation_only",
        control=("teacher_diversity_ratio", compare.spread_ratio((TEACHER, 25), STUDENT)),
    )
    compare.check_trainings(result, "distillation_alone", "default", "distillation_only")


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
                for steps in drawn_steps(profile, job)
            ]
            _compare_methods(result, bench)
    result.frames["methods"] = pl.DataFrame(rows)
    return result


def is_trained(settings: SetSettings, method: str, steps: int) -> bool:
    """Tell whether a method has a student of a number of steps."""
    return method != "progressive" or steps in settings.progressive.students


def _rows_of_teacher(bench: Workbench) -> list[dict[str, Any]]:
    settings = bench.settings
    calls: list[Drawn] = [
        *((TEACHER, steps) for steps in settings.teacher_steps),
        *((SOLVER, steps) for steps in settings.solver_steps),
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
            control=(f"cheap_fd_ratio_{ending}", compare.ratio(GAUSSIANS, teacher)),
        )
    if others := bench.settings.alternatives:
        best = least(*(compare.ratio((name, 1), STUDENT) for name in others))
        compare.measure(result, "best_alternative_fd_ratio", best, *others)
        compare.check_trainings(result, "alternatives", "default", *others)
    compare.measure(result, "floor_fd", compare.fd(FLOOR))
    told = {"student": STUDENT, "teacher_25": (TEACHER, 25), "gaussians": GAUSSIANS}
    for name, drawn in (told | {name: (name, 1) for name in others}).items():
        result.measure(f"{compare.kind}told_apart_{name}", compare.told_apart(drawn))
    compare.measure(result, "fd_ratio_four_to_one", compare.ratio(("default", 4), STUDENT))
    _compare_front(result, compare)
    if compare.bench.free_captions and CAPTIONS not in result.metrics:
        _compare_captions(result, compare)


def _compare_captions(result: StepResult, compare: Jackknife) -> None:
    """Measure how well the student follows captions beside 25 steps of its teacher."""
    many: Drawn = (TEACHER, 25)
    blind = "blind_alignment_gain", compare.alignment_gain(("blind", 1), many)
    gain = compare.alignment_gain(STUDENT, many)
    compare.measure(result, CAPTIONS, gain, "blind", control=blind, prefixed=False)
    compare.check_trainings(result, "captions", "default", "blind", prefixed=False)


def _compare_front(result: StepResult, compare: Jackknife) -> None:
    """Measure the nearest rival over the student, each at as many calls of the network.

    It needs all rivals that are trained: to be nearer than solvers alone says little.
    """
    bench, counts, ratios = compare.bench, compare.bench.profile.student_steps, []
    settings = bench.settings
    if not all(map(compare.seeds, RIVALS)):
        return
    for calls in counts:
        rivals: list[Drawn] = [
            *((TEACHER, steps) for steps in settings.teacher_steps),
            *((SOLVER, steps) for steps in settings.solver_steps),
            *((name, calls) for name in RIVALS),
        ]
        at = [
            compare.ratio(rival, ("default", calls))
            for rival in rivals
            if bench.calls(*rival) == calls and is_trained(settings, *rival)
        ]
        ratios.append(least(*at))
        compare.measure(result, f"front_fd_ratio_{calls}", ratios[-1], *RIVALS)
    compare.measure(result, "front_fd_ratio", least(*ratios), *RIVALS)
    compare.check_trainings(result, "front", "default", *RIVALS, steps=counts)


def _row(bench: Workbench, method: str, steps: int, seed: int) -> dict[str, Any]:
    judged = bench.judged(method, steps, seed)
    row = {"set": bench.images.name, "method": method, "steps": steps, "seed": seed}
    return row | {"calls": bench.calls(method, steps)} | asdict(judged.quality)


def summary(frame: pl.DataFrame) -> pl.DataFrame:
    """Return means over seeds, with the standard deviation of FD, in the order of the rows."""
    return frame.group_by("set", "method", "steps", maintain_order=True).agg(
        pl.col("seed").count().alias("seeds"),
        *(pl.col(measure).mean() for measure in MEASURES),
        pl.col("fd").std().alias("sd of fd"),
    )


def front(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the nearest method at each number of calls, beside the student there.

    Args:
        frame: The frame ``methods`` of :func:`measure_methods`.
    """
    keys = ["set", "calls", "method"]
    means = frame.group_by(keys, maintain_order=True).agg(
        pl.col("fd", "precision", "recall", "alignment", "spread").mean()
    )
    best = means.sort("set", "calls", "fd", maintain_order=True).unique(
        ["set", "calls"], keep="first", maintain_order=True
    )
    own = means.filter(method="default").select("set", "calls", pl.col("fd").alias("ADD's fd"))
    return best.join(own, on=["set", "calls"], how="left", maintain_order="left")


def wide(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a row an arm, FD and spread by number of steps in columns."""
    titles = {name: arm.title for name, arm in ARMS.items()}
    parts = {name: arm.part for name, arm in ARMS.items()}
    means = summary(frame).with_columns(
        pl.col("method").replace(titles).alias("arm"),
        pl.col("method").replace(parts).alias("Table 1"),
    )
    index = ["Table 1", "arm", "seeds"]
    values = {"fd": "FD", "sd of fd": "sd of FD", "spread": "spread"}
    found = means.pivot("steps", index=["set", *index], values=list(values))
    headings = {
        f"{value}_{steps}": f"{heading}, {steps} step{'s' if steps > 1 else ''}"
        for value, heading in values.items()
        for steps in sorted(means["steps"].unique())
    }
    return found.select("set", *index, *headings).rename(headings)
