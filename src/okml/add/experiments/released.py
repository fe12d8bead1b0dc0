"""Released students and guided teachers, scored and timed: Table 2 without any training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import torch

from okml.add.full_scale.architectures import Backbone
from okml.add.full_scale.assemble import fixed_conditions
from okml.add.full_scale.coco import Coco, Draw, gaussian_drawer, score_drawings
from okml.add.full_scale.models import PIPELINES, TURBO, Pipeline, load_pipeline
from okml.add.full_scale.prerequisites import require
from okml.add.full_scale.run import (
    EVALUATED_IN,
    drawer,
    free_memory,
    scores_with_real_images,
    time_drawing,
)
from okml.add.latency import LatencyTable
from okml.add.planning import COCO_IMAGES
from okml.add.sampling import Sampler, student_sampler, teacher_sampler
from okml.add.schedule import NoiseSchedule
from okml.add.study import Study
from okml.add.target import Guided
from okml.ledger import estimate_left_out, estimate_mean, estimate_statistic
from okml.ledger.intervals import Ints
from okml.runtime import GIB
from okml.steps import StepResult, Steps, announced

GIGABYTE = 1e9
DIGEST_MODEL: Backbone = "sdxl"
DIGEST_MS = {1: 200, 4: 340}  # the digest's milliseconds by steps
TIMED_GROUPS = 4
TIMED_IN = torch.float16  # the released weights are used in it
TEACHER, GAUSSIAN = "teacher", "one Gaussian, no network"
CLIP, SECOND = "CLIP score", "CLIP score, ViT-L/14"
# A row of scores for all drawn images (without 0), and one without each group of them.
SCORES = {
    "row": pl.String, "steps": pl.Int64, "guidance": pl.Float64, "without": pl.Int64,
    "FID": pl.Float64, CLIP: pl.Float64, SECOND: pl.Float64,
}  # fmt: skip
TIMES = {
    "row": pl.String, "steps": pl.Int64, "guidance": pl.Float64, "ms": pl.Float64, "GB": pl.Float64
}  # fmt: skip


def measure_released(study: Study) -> StepResult:
    """Score and time what was released; without models named, nothing is run.

    A model at one number of steps and one scale of guidance takes minutes to hours, so each is kept
    by itself. Times come first: they count the memory of the card.

    Raises:
        DataError: If something is missing for these models, or for the rows of Table 1: without
            their shards the run would stop after the hours of this step.
    """
    published, result = study.profile.published, StepResult()
    released = published.released
    require(published.settings(), released)
    parts = Steps(study.profile, study.run_dir / "parts", str(study.device))
    timed = [
        *(parts(f"time of {TURBO[name]}", time_student, study, name) for name in released.students),
        *(
            parts(f"time of {PIPELINES[name]}", time_teacher, study, name)
            for name in released.teachers
        ),
    ]
    scored = [
        *(parts(f"scores of {TURBO[name]}, {_of_steps(steps)}", score_student, study, name, steps)
          for name in released.students for steps in released.student_steps),
        *(parts(f"scores of {PIPELINES[name]}, {_of_steps(steps)}, guidance {guidance:g}",
                score_teacher, study, name, steps, guidance)
          for name in released.teachers for steps, guidance in released.teacher_draws),
    ]  # fmt: skip
    if released.teachers or published.rows:
        scored.append(parts("scores of one Gaussian", score_gaussian, study))
    for part in timed:
        result.take(part)
    times = pl.concat([pl.DataFrame(schema=TIMES), *(part.frames["times"] for part in timed)])
    scores = pl.concat([pl.DataFrame(schema=SCORES), *(part.frames["scores"] for part in scored)])
    whole = scores.filter(without=0).drop("without")
    keys = ["row", "steps", "guidance"]
    table = whole.join(times, on=keys, how="full", coalesce=True, maintain_order="left_right")
    base = published.base
    sides = {PIPELINES[name]: base.teacher_side(name) for name in released.teachers}
    side = pl.col("row").replace_strict(sides, default=base.side, return_dtype=pl.Int64)
    result.frames |= {"scores": scores, "table_2": table.with_columns(side.alias("pixels a side"))}
    _compare_with_teacher(result, scores)
    return result


def _of_steps(steps: int) -> str:
    return f"{steps} step" + "s" * (steps > 1)


def of_best_guidance(scores: pl.DataFrame, teacher: str) -> pl.DataFrame:
    """Return a teacher's scores with the scale of the lowest FID, at each number of steps."""
    own = scores.filter(row=teacher)
    best = (
        own.filter(without=0)
        .sort("FID", maintain_order=True)
        .unique("steps", keep="first", maintain_order=True)
        .select("steps", "guidance")
    )
    chosen = own.join(best, on=["steps", "guidance"], how="semi", maintain_order="left")
    return chosen.sort("steps", "without")


def _compare_with_teacher(result: StepResult, scores: pl.DataFrame) -> None:
    """Measure one step of SD-Turbo beside 25 of SD 2.1, as far as both were run."""
    one = scores.filter(row=TURBO["sd21"], steps=1).sort("without")["FID"].to_numpy()
    teacher = of_best_guidance(scores, PIPELINES["sd21"])
    many = teacher.filter(steps=25)["FID"].to_numpy()
    if len(one) and len(many):
        ratio = estimate_left_out(one / many, COCO_IMAGES, "images")
        result.measure("released_fid_ratio_to_25_steps", ratio)


# ------------------------------------------------------------------ students


def time_student(study: Study, name: Backbone) -> StepResult:
    """Time a released student; the digest's figures for one step and for four are one claim."""
    released = study.profile.published.released
    side = study.profile.published.base.side
    pipeline = _timed(study, name, side, turbo=True)
    schedule = NoiseSchedule.from_scheduler(pipeline.scheduler, "noise_only")
    samplers = {
        steps: student_sampler(pipeline.denoiser, schedule, steps) for steps in released.timed_steps
    }
    table = _time(study, pipeline, samplers, side)
    result = StepResult(frames={"times": _times(TURBO[name], 1.0, table)})
    if name == DIGEST_MODEL:
        _compare_with_digest(result, table)
    return result


def _compare_with_digest(result: StepResult, table: LatencyTable) -> None:
    rounds = {row.steps: np.array(row.rounds) for row in table.rows}

    def worse(chosen: Ints, _: int) -> float:
        return max(float(np.median(rounds[n][chosen])) / told for n, told in DIGEST_MS.items())

    # Few groups: a median is smooth only in large ones.
    timed = estimate_statistic(worse, len(rounds[1]), "repeats", groups=TIMED_GROUPS)
    result.measure("latency_over_digest", timed)
    for steps in DIGEST_MS:
        taken = next(row.total for row in table.rows if row.steps == steps)
        result.log(f"latency_ms_{steps}", taken, unit="ms")
    reserved = np.array(table.reserved_gib) * GIB / GIGABYTE
    result.measure("peak_gpu_memory_gb", estimate_mean(reserved, "repeats"), unit="GB")


def score_student(study: Study, name: Backbone, steps: int) -> StepResult:
    """Score a released student at a number of steps."""
    side = study.profile.published.base.side
    pipeline = _scored(study, name, side, turbo=True)
    schedule = NoiseSchedule.from_scheduler(pipeline.scheduler, "noise_only")
    draw = drawer(pipeline, student_sampler(pipeline.denoiser, schedule, steps), study.device, side)
    return _drawn(study, Coco.load(), TURBO[name], steps, 1.0, draw, side)


# ------------------------------------------------------------------ teachers


def time_teacher(study: Study, name: Backbone) -> StepResult:
    """Time a teacher with guidance at its own side; the scale of guidance makes no difference."""
    released = study.profile.published.released
    side = study.profile.published.base.teacher_side(name)
    pipeline = _timed(study, name, side, turbo=False)
    scale = released.guidance[0]
    samplers = {
        steps: guided_sampler(pipeline, steps, scale, study.device)
        for steps in released.teacher_steps
    }
    table = _time(study, pipeline, samplers, side)
    frames = [_times(PIPELINES[name], scale, table) for scale in released.guidance]
    return StepResult(frames={"times": pl.concat(frames)})


def score_teacher(study: Study, name: Backbone, steps: int, guidance: float) -> StepResult:
    """Score a teacher at its own side; without guidance by DDIM, as a student begins."""
    side = study.profile.published.base.teacher_side(name)
    pipeline = _scored(study, name, side, turbo=False)
    if guidance == 1:
        sampler = teacher_sampler(pipeline.denoiser, pipeline.scheduler, steps)
    else:
        sampler = guided_sampler(pipeline, steps, guidance, study.device)
    draw = drawer(pipeline, sampler, study.device, side)
    return _drawn(study, Coco.load(), PIPELINES[name], steps, guidance, draw, side)


def guided_sampler(
    pipeline: Pipeline, steps: int, guidance: float, device: torch.device
) -> Sampler:
    """Return DPM-Solver++ of a teacher with classifier-free guidance."""
    empty, _ = fixed_conditions(pipeline, device)
    teacher = Guided(pipeline.denoiser, guidance, empty)
    return teacher_sampler(teacher, pipeline.scheduler, steps, "dpm_solver++")


def score_gaussian(study: Study) -> StepResult:
    """Score the cheapest rival: one normal distribution of real images, which reads no caption."""
    base, coco = study.profile.published.base, Coco.load()
    return _drawn(study, coco, GAUSSIAN, 0, 1.0, gaussian_drawer(coco, base.side), base.side)


# ------------------------------------------------------------------ both


def _timed(study: Study, name: Backbone, side: int, *, turbo: bool) -> Pipeline:
    free_memory()
    pipeline = load_pipeline(name, TIMED_IN, side=side, turbo=turbo).to(study.device)
    pipeline.codec.float()  # SDXL's autoencoder overflows in float16
    return pipeline


def _time(
    study: Study, pipeline: Pipeline, samplers: Mapping[int, Sampler], side: int
) -> LatencyTable:
    repeats = study.profile.published.released.repeats
    return time_drawing(pipeline, samplers, study.device, side, repeats)


def _times(name: str, guidance: float, table: LatencyTable) -> pl.DataFrame:
    memory = max(table.reserved_gib) * GIB / GIGABYTE
    rows = [(name, row.steps, guidance, row.total, memory) for row in table.rows]
    return pl.DataFrame(rows, TIMES, orient="row")


def _scored(study: Study, name: Backbone, side: int, *, turbo: bool) -> Pipeline:
    free_memory()
    return load_pipeline(name, EVALUATED_IN, side=side, turbo=turbo).to(study.device)


def _drawn(
    study: Study, coco: Coco, name: str, steps: int, guidance: float, draw: Draw, side: int
) -> StepResult:
    """Score one image of ``side`` for each caption; the scores see all images at one side."""
    base = study.profile.published.base
    with announced(f"FID of {name}, {_of_steps(steps)}, guidance {guidance:g}"):
        scores = scores_with_real_images(coco, base, study.device)
        found = score_drawings(coco, draw, scores, base.drawn_at_once(side))
    return StepResult(frames={"scores": scores_frame(name, steps, guidance, found)})


def scores_frame(
    row: str, steps: int, guidance: float, found: Mapping[str, list[float]]
) -> pl.DataFrame:
    """Return the scores of all drawn images (without 0), and without each group of them."""
    count = len(found["fid"])
    columns = {"row": [row] * count, "steps": [steps] * count, "guidance": [guidance] * count}
    numbers = {"FID": found["fid"], CLIP: found["clip_score"], SECOND: found["clip_score_vitl14"]}
    return pl.DataFrame({**columns, "without": range(count), **numbers}, schema=SCORES)
