"""Released students and guided teachers, scored and timed: Table 2 without any training."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

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

    Each model takes minutes to hours, so each is kept by itself. Times come first: they count the
    memory of the card.
    """
    published, result = study.profile.published, StepResult()
    released = published.released
    require({}, released)
    parts = Steps(study.profile, study.run_dir / "parts", str(study.device))
    timed = [
        *(parts(f"time of {TURBO[name]}", time_student, study, name) for name in released.students),
        *(
            parts(f"time of {PIPELINES[name]}", time_teacher, study, name)
            for name in released.teachers
        ),
    ]
    scored = [
        *(parts(f"scores of {TURBO[name]}", score_student, study, name)
          for name in released.students),
        *(parts(f"scores of {PIPELINES[name]}", score_teacher, study, name)
          for name in released.teachers),
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
    result.frames |= {"scores": scores, "table_2": table}
    _compare_with_teacher(result, scores)
    return result


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
    pipeline = _timed(study, name, turbo=True)
    schedule = NoiseSchedule.from_scheduler(pipeline.scheduler, "noise_only")
    samplers = {
        steps: student_sampler(pipeline.denoiser, schedule, steps) for steps in released.timed_steps
    }
    table = _time(study, pipeline, samplers)
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


def score_student(study: Study, name: Backbone) -> StepResult:
    """Score a released student at each number of steps."""
    pipeline = _scored(study, name, turbo=True)
    schedule = NoiseSchedule.from_scheduler(pipeline.scheduler, "noise_only")
    samplers = {
        (steps, 1.0): student_sampler(pipeline.denoiser, schedule, steps)
        for steps in study.profile.published.released.student_steps
    }
    return _scores(study, TURBO[name], pipeline, samplers)


# ------------------------------------------------------------------ teachers


def time_teacher(study: Study, name: Backbone) -> StepResult:
    """Time a teacher with guidance; its scale makes no difference."""
    released = study.profile.published.released
    pipeline = _timed(study, name, turbo=False)
    scale = released.guidance[0]
    samplers = {
        steps: guided_sampler(pipeline, steps, scale, study.device)
        for steps in released.teacher_steps
    }
    table = _time(study, pipeline, samplers)
    frames = [_times(PIPELINES[name], scale, table) for scale in released.guidance]
    return StepResult(frames={"times": pl.concat(frames)})


def score_teacher(study: Study, name: Backbone) -> StepResult:
    """Score a teacher with guidance, and one step of it without: what a student begins as."""
    released = study.profile.published.released
    pipeline = _scored(study, name, turbo=False)
    one_step = teacher_sampler(pipeline.denoiser, pipeline.scheduler, 1)
    samplers: dict[tuple[int, float], Sampler] = {(1, 1.0): one_step}
    for steps in released.teacher_steps:
        for scale in released.guidance:
            samplers[steps, scale] = guided_sampler(pipeline, steps, scale, study.device)
    return _scores(study, PIPELINES[name], pipeline, samplers)


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
    draw = gaussian_drawer(coco, base.side)
    with announced(GAUSSIAN):
        return _drawn(study, coco, GAUSSIAN, {(0, 1.0): draw})


# ------------------------------------------------------------------ both


def _timed(study: Study, name: Backbone, *, turbo: bool) -> Pipeline:
    free_memory()
    side = study.profile.published.base.side
    pipeline = load_pipeline(name, TIMED_IN, side=side, turbo=turbo).to(study.device)
    pipeline.codec.float()  # SDXL's autoencoder overflows in float16
    return pipeline


def _time(study: Study, pipeline: Pipeline, samplers: Mapping[int, Sampler]) -> LatencyTable:
    published = study.profile.published
    repeats = published.released.repeats
    return time_drawing(pipeline, samplers, study.device, published.base.side, repeats)


def _times(name: str, guidance: float, table: LatencyTable) -> pl.DataFrame:
    memory = max(table.reserved_gib) * GIB / GIGABYTE
    rows = [(name, row.steps, guidance, row.total, memory) for row in table.rows]
    return pl.DataFrame(rows, TIMES, orient="row")


def _scored(study: Study, name: Backbone, *, turbo: bool) -> Pipeline:
    free_memory()
    side = study.profile.published.base.side
    return load_pipeline(name, EVALUATED_IN, side=side, turbo=turbo).to(study.device)


def _scores(
    study: Study, name: str, pipeline: Pipeline, samplers: Mapping[tuple[int, float], Sampler]
) -> StepResult:
    side = study.profile.published.base.side
    draws = {key: drawer(pipeline, sample, study.device, side) for key, sample in samplers.items()}
    with announced(f"FID of {name}"):
        return _drawn(study, Coco.load(), name, draws)


def _drawn(
    study: Study, coco: Coco, name: str, draws: Mapping[tuple[int, float], Draw]
) -> StepResult:
    base = study.profile.published.base
    scores = scores_with_real_images(coco, base, study.device)
    drawn = partial(score_drawings, coco, scores=scores, batch=base.evaluation_batch)
    frames = [
        scores_frame(name, steps, guidance, drawn(draw))
        for (steps, guidance), draw in draws.items()
    ]
    return StepResult(frames={"scores": pl.concat(frames)})


def scores_frame(
    row: str, steps: int, guidance: float, found: Mapping[str, list[float]]
) -> pl.DataFrame:
    """Return the scores of all drawn images (without 0), and without each group of them."""
    count = len(found["fid"])
    columns = {"row": [row] * count, "steps": [steps] * count, "guidance": [guidance] * count}
    numbers = {"FID": found["fid"], CLIP: found["clip_score"], SECOND: found["clip_score_vitl14"]}
    return pl.DataFrame({**columns, "without": range(count), **numbers}, schema=SCORES)
