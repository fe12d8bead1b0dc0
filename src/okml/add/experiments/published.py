"""Table 1 with the published models, and the time of the released student."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import polars as pl
import torch
from torch import Tensor

from okml.add.comparison import Floats
from okml.add.full_scale.architectures import Backbone
from okml.add.full_scale.coco import (
    Coco,
    Draw,
    gaussian_drawer,
    score_drawings,
)
from okml.add.full_scale.models import load_pipeline
from okml.add.full_scale.prerequisites import require
from okml.add.full_scale.run import (
    drawer,
    evaluate,
    free_memory,
    scores_with_real_images,
    time_released,
    train,
)
from okml.add.interfaces import Condition
from okml.add.planning import COCO_IMAGES
from okml.add.profile_settings import PublishedSettings
from okml.add.sampling import TeacherSampler, sample_teacher
from okml.add.study import Study
from okml.kept import trainings_folder
from okml.ledger import estimate_left_out, estimate_mean, estimate_statistic
from okml.ledger.intervals import Ints
from okml.runtime import GIB
from okml.steps import StepResult, Steps, announced

GIGABYTE = 1e9
DIGEST_MS = {1: 200, 4: 340}  # the digest's milliseconds by steps
TIMED_GROUPS = 4
TEACHER, GAUSSIAN = "teacher", "one Gaussian, no network"
Drawn = tuple[str, int]  # row of the table and steps
ONE: Drawn = ("default", 1)
CLIP = "CLIP score"
SCHEMA = {
    "row": pl.String, "steps": pl.Int64, "without": pl.Int64, "FID": pl.Float64, CLIP: pl.Float64
}  # fmt: skip


def check_prerequisites(study: Study) -> None:
    """Raise before the first training if the published models cannot be distilled after it."""
    require(study.profile.published.settings(), study.profile.published.released)


def measure_published(study: Study) -> StepResult:
    """Distil published models by the rows of Table 1; without rows, nothing is run.

    Each row takes hours, so each is kept by itself.
    """
    published = study.profile.published
    check_prerequisites(study)
    if published.rows or published.released is not None:
        study.let_go()
    parts = Steps(study.profile, study.run_dir / "parts", str(study.device))
    result = StepResult()
    if published.released is not None:  # before trainings, whose memory would count
        timed = parts("published student", time_student, study, published.released)
        result.take(timed)
    rows = [parts(f"Table 1, {name}", measure_row, study, name) for name in published.rows]
    if rows:
        rows.append(parts("Table 1, teacher", measure_teacher, study))
    scores = pl.concat([pl.DataFrame(schema=SCHEMA), *(row.frames["scores"] for row in rows)])
    _log(result, scores)
    result.frames["table_1"] = scores.filter(without=0).drop("without")
    return result


def time_student(study: Study, name: Backbone) -> StepResult:
    """Time a released student; the digest's figures for one step and for four are one claim."""
    free_memory()
    table = time_released(name, study.profile.device)
    rounds = {row.steps: np.array(row.rounds) for row in table.rows}

    def worse(chosen: Ints, _: int) -> float:
        return max(float(np.median(rounds[n][chosen])) / told for n, told in DIGEST_MS.items())

    result, repeats = StepResult(), len(rounds[1])
    # Few groups: a median is smooth only in large ones.
    timed = estimate_statistic(worse, repeats, "repeats", groups=TIMED_GROUPS)
    result.measure("latency_over_digest", timed)
    for steps in DIGEST_MS:
        taken = next(row.total for row in table.rows if row.steps == steps)
        result.log(f"latency_ms_{steps}", taken, unit="ms")
    reserved = np.array(table.reserved_gib) * GIB / GIGABYTE
    result.measure("peak_gpu_memory_gb", estimate_mean(reserved, "repeats"), unit="GB")
    return result


def measure_row(study: Study, name: str) -> StepResult:
    """Distil by a row of Table 1, or go on with that, and score the student."""
    settings = study.profile.published.settings()[name]
    folder = trainings_folder(study, train, PublishedSettings.settings) / name
    with announced(f"Table 1, {name}"):
        free_memory()
        train(settings, folder)
        free_memory()
        found = evaluate(settings, folder, study.profile.device)
    frames = [
        _scored(name, steps, found[f"fid@{steps}"], found[f"clip_score@{steps}"])
        for steps in settings.evaluation_steps
    ]
    return StepResult(frames={"scores": pl.concat(frames)})


def _scored(row: str, steps: int, fid: list[float], clip: list[float]) -> pl.DataFrame:
    """Return scores of all drawn images (0), and without each group of them."""
    count = len(fid)
    columns = {"row": [row] * count, "steps": [steps] * count, "without": range(count)}
    return pl.DataFrame({**columns, "FID": fid, CLIP: clip}, schema=SCHEMA)


def measure_teacher(study: Study) -> StepResult:
    """Score the teacher itself."""
    with announced("FID of the teacher"):
        free_memory()
        found = evaluate_teacher(study)
    frames = [
        _scored(TEACHER if steps else GAUSSIAN, steps, one["fid"], one["clip_score"])
        for steps, one in found.items()
    ]
    return StepResult(frames={"scores": pl.concat(frames)})


def evaluate_teacher(study: Study) -> dict[int, dict[str, list[float]]]:
    """Return scores of the teacher itself without guidance, by number of steps.

    One step is one of DDIM; more are steps of DPM-Solver++, as in Table 2. No step is the
    cheapest rival: one normal distribution of real images.
    """
    published, device, coco = study.profile.published, study.device, Coco.load()
    settings = published.base
    pipeline = load_pipeline(settings.teacher).to(device)
    scores = scores_with_real_images(coco, settings, device)

    def sample(
        steps: int, noise: Tensor, condition: Condition, generator: torch.Generator
    ) -> Tensor:
        sampler: TeacherSampler = "ddim" if steps == 1 else "dpm_solver++"
        return sample_teacher(
            pipeline.denoiser, pipeline.scheduler, noise, condition, steps, sampler
        )

    draws: dict[int, Draw] = {0: gaussian_drawer(coco, settings.side)}
    for steps in published.teacher_steps:
        draws[steps] = drawer(pipeline, partial(sample, steps), device)
    return {
        steps: score_drawings(coco, own, scores, settings.evaluation_batch)
        for steps, own in draws.items()
    }


def _log(result: StepResult, scores: pl.DataFrame) -> None:
    """Measure the metrics of the claims, as far as their rows were run."""
    known = set(scores.select("row", "steps").iter_rows())

    def of(row: str, steps: int = 1, score: str = "FID") -> Floats:
        return scores.filter(row=row, steps=steps).sort("without")[score].to_numpy()

    def measure(metric: str, compute: Callable[[], Floats], *drawn: Drawn) -> None:
        if known.issuperset(drawn):
            result.measure(metric, estimate_left_out(compute(), COCO_IMAGES, "images"))

    def ratio(metric: str, one: Drawn, other: Drawn, name: str = "", rival: Drawn = ONE) -> None:
        """Measure one over the other; with a name, rival over the other is its control."""
        measure(metric, lambda: of(*one) / of(*other), one, other)
        if name and known.issuperset((one, other, rival)):
            measure(name, lambda: of(*rival) / of(*other))
            difference = (of(*one) - of(*rival)) / of(*other)
            result.compare(metric, name, estimate_left_out(difference, COCO_IMAGES, "images"))

    def clip_gain(metric: str, *others: str) -> None:
        def gain() -> Floats:
            best = np.max([of(name, score=CLIP) for name in others], axis=0)
            return np.asarray(of("default", score=CLIP) - best)

        measure(metric, gain, ONE, *((name, 1) for name in others))

    def more_steps() -> Floats:
        return np.maximum(of("default", 2) / of(*ONE), of("default", 4) / of("default", 2))

    measure("fid_one_step", lambda: of(*ONE), ONE)
    measure("fd_ratio_more_steps", more_steps, ONE, ("default", 2), ("default", 4))
    eyes = sorted(name for name, steps in known if name.startswith("a.") and steps == 1)
    if eyes:
        best = np.min([of(name) for name in eyes], axis=0)
        measure("dinov2_fid_gain", lambda: best - of(*ONE), ONE)
    for ending, steps in (("one_step", 1), ("to_25_steps", 25)):
        rival = (f"cheap_fd_ratio_{ending}", (GAUSSIAN, 0))
        ratio(f"fd_ratio_{ending}", ONE, (TEACHER, steps), *rival)
    random = ("c.random_student", 1)
    ratio("random_init_fd_ratio", random, ONE, "teacher_fd_ratio", (TEACHER, 1))
    ratio("distillation_alone_fd_ratio", ("d.distillation_only", 1), ONE)
    clip_gain("distillation_clip_gain", "d.adversarial_only")
    clip_gain("conditioning_clip_gain_over_best", "b.unconditional", "b.text_only", "b.image_only")
    four = ("f.four_teacher_steps", 1)
    measure("teacher_steps_fid_gain", lambda: of(*ONE) - of(*four), ONE, four)
