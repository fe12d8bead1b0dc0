"""Table 1 with the published models, and the time of the released student."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import polars as pl
import torch

from okml.add.full_scale.architectures import LATENT_SHAPE
from okml.add.full_scale.assemble import encode_prompts
from okml.add.full_scale.coco import Caption, Coco, Scores, clip_from, score_drawings
from okml.add.full_scale.models import CLIP_G14, load_pipeline
from okml.add.full_scale.run import evaluate, time_released, train
from okml.add.full_scale.settings import table_1
from okml.add.sampling import TeacherSampler, sample_teacher
from okml.add.study import Study
from okml.runtime import progress
from okml.steps import StepResult, announced

GIGABYTE = 1e9


def measure_published(study: Study) -> StepResult:
    """Distil published models by the rows of Table 1; without rows, nothing is run."""
    published = study.profile.published
    result, rows = StepResult(), []
    scores: dict[str, dict[str, float]] = {}
    for name in published.rows:
        settings = table_1(published.base)[name]
        folder = study.folder / "published" / name
        with announced(f"Table 1, {name}"):
            train(settings, folder)
            scores[name] = evaluate(settings, folder, study.profile.device)
        rows += [
            {"row": name, "steps": steps, "FID": scores[name][f"fid@{steps}"],
             "CLIP score": scores[name][f"clip_score@{steps}"]}
            for steps in settings.evaluation_steps
        ]  # fmt: skip
    if published.rows:
        with announced("FID of the teacher"):
            for steps, found in evaluate_teacher(study).items():
                scores[f"teacher {steps}"] = {"fid@1": found["fid"]}
                rows.append(
                    {
                        "row": "teacher",
                        "steps": steps,
                        "FID": found["fid"],
                        "CLIP score": found["clip_score"],
                    }
                )
    schema = {"row": pl.String, "steps": pl.Int64, "FID": pl.Float64, "CLIP score": pl.Float64}
    result.frames["table_1"] = pl.DataFrame(rows, schema=schema)
    _log(result, scores)
    if published.released is not None:
        table = time_released(published.released, study.profile.device)
        four = next(row for row in table.rows if row.steps == 4)
        result.log("latency_four_steps_ms", four.total, unit="ms")
        result.log("peak_gpu_memory_gb", table.reserved_gib * 2**30 / GIGABYTE, unit="GB")
    return result


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
