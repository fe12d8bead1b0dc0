"""Table 1 with the published models, and the time of the released student."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import polars as pl
import torch

from okml.add.full_scale.architectures import LATENT_SHAPE, Backbone
from okml.add.full_scale.assemble import encode_prompts
from okml.add.full_scale.coco import Caption, Coco, Scores, clip_from, score_drawings
from okml.add.full_scale.models import CLIP_G14, load_pipeline
from okml.add.full_scale.prerequisites import require
from okml.add.full_scale.run import evaluate, free_memory, time_released, train
from okml.add.profile_settings import PublishedSettings
from okml.add.sampling import TeacherSampler, sample_teacher
from okml.add.study import Study
from okml.kept import trainings_folder
from okml.runtime import progress
from okml.steps import StepResult, Steps, announced

GIGABYTE = 1e9
SCHEMA = {"row": pl.String, "steps": pl.Int64, "FID": pl.Float64, "CLIP score": pl.Float64}


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
    frames = [row.frames["table_1"] for row in rows]
    table = pl.concat([pl.DataFrame(schema=SCHEMA), *frames])
    _log(result, _scores(table))
    result.frames["table_1"] = table
    return result


def time_student(study: Study, name: Backbone) -> StepResult:
    """Time a released student."""
    free_memory()
    table = time_released(name, study.profile.device)
    four = next(row for row in table.rows if row.steps == 4)
    result = StepResult()
    result.log("latency_four_steps_ms", four.total, unit="ms")
    result.log("peak_gpu_memory_gb", table.reserved_gib * 2**30 / GIGABYTE, unit="GB")
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
    rows = [
        {"row": name, "steps": steps, "FID": found[f"fid@{steps}"],
         "CLIP score": found[f"clip_score@{steps}"]}
        for steps in settings.evaluation_steps
    ]  # fmt: skip
    return StepResult(frames={"table_1": pl.DataFrame(rows, schema=SCHEMA)})


def measure_teacher(study: Study) -> StepResult:
    """Score the teacher itself."""
    with announced("FID of the teacher"):
        free_memory()
        found = evaluate_teacher(study)
    rows = [
        {"row": "teacher", "steps": steps, "FID": one["fid"], "CLIP score": one["clip_score"]}
        for steps, one in found.items()
    ]
    return StepResult(frames={"table_1": pl.DataFrame(rows, schema=SCHEMA)})


def evaluate_teacher(study: Study) -> dict[int, dict[str, float]]:
    """Return scores of the teacher itself without guidance, by number of steps.

    One step is one of DDIM; more are steps of DPM-Solver++, as in Table 2.
    """
    published, device, coco = study.profile.published, study.device, Coco.load()
    settings = published.base
    pipeline = load_pipeline(settings.teacher).to(device)
    scores = Scores(device, clips={"": clip_from(CLIP_G14)})
    for images in progress(coco.images(settings.side, settings.evaluation_batch), "real images"):
        scores.add_real(images)

    def draw(steps: int, rows: Sequence[Caption]) -> torch.Tensor:
        seeds = [torch.Generator().manual_seed(row.image_id) for row in rows]
        noise = torch.stack([torch.randn(LATENT_SHAPE, generator=seed) for seed in seeds])
        condition = encode_prompts(pipeline, [row.text for row in rows], device)
        sampler: TeacherSampler = "ddim" if steps == 1 else "dpm_solver++"
        latents = sample_teacher(
            pipeline.denoiser, pipeline.scheduler, noise.to(device), condition, steps, sampler
        )
        with torch.no_grad():
            return pipeline.codec.decode(latents)

    return {
        steps: score_drawings(coco, partial(draw, steps), scores, settings.evaluation_batch)
        for steps in published.teacher_steps
    }


def _scores(table: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Return scores by row, then by metric and steps; a teacher's steps are rows of their own."""
    scores: dict[str, dict[str, float]] = {}
    for row in table.iter_rows(named=True):
        name, steps = row["row"], row["steps"]
        if name == "teacher":
            name, steps = f"teacher {steps}", 1
        found = scores.setdefault(name, {})
        found |= {f"fid@{steps}": row["FID"], f"clip_score@{steps}": row["CLIP score"]}
    return scores


def _log(result: StepResult, scores: dict[str, dict[str, float]]) -> None:
    """Log what the claims compare, as far as the rows were run."""

    def gap(metric: str, one: str, other: str, key: str = "fid@1") -> None:
        if one in scores and other in scores:
            result.log(metric, scores[one][key] - scores[other][key])

    def ratio(metric: str, one: str, other: str) -> None:
        if one in scores and other in scores:
            result.log(metric, scores[one]["fid@1"] / scores[other]["fid@1"])

    if "default" in scores:
        own = scores["default"]
        result.log("fid_one_step", own["fid@1"])
        more = max(own["fid@2"] / own["fid@1"], own["fid@4"] / own["fid@2"])
        result.log("fd_ratio_more_steps", more)
        others = [scores[name]["fid@1"] for name in scores if name.startswith("a.")]
        if others:
            result.log("dinov2_fid_gain", min(others) - own["fid@1"])
    ratio("fd_ratio_one_step", "default", "teacher 1")
    ratio("fd_ratio_to_25_steps", "default", "teacher 25")
    ratio("random_init_fd_ratio", "c.random_student", "default")
    ratio("distillation_only_fd_ratio", "d.distillation_only", "default")
    gap("distillation_clip_gain", "default", "d.adversarial_only", "clip_score@1")
    gap("conditioning_clip_gain", "default", "b.unconditional", "clip_score@1")
    gap("teacher_steps_fid_gain", "default", "f.four_teacher_steps")
