"""The networks that the chapter offers: distilled students, and pipelines around them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffusers import (
    DiffusionPipeline,
    LCMScheduler,
    ModelMixin,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)

from okml.add.denoiser import Denoiser
from okml.add.experiments.published import row_folder
from okml.add.full_scale.models import PIPELINES, pipeline_folder
from okml.add.full_scale.run import load_student
from okml.add.full_scale.settings import FullScaleSettings
from okml.add.settings import TerminalSnr
from okml.add.small.pipeline import CaptionPipeline
from okml.add.study import Study
from okml.add.workbench import Workbench
from okml.export import ModelExport

SMALL_USAGE = """from okml.add.small.pipeline import CaptionPipeline

image = CaptionPipeline.from_pretrained("FOLDER")("CAPTION", steps=1)"""
PIPELINE_USAGE = """from diffusers import DiffusionPipeline

draw = DiffusionPipeline.from_pretrained("FOLDER")
image = draw("a raccoon in a library", num_inference_steps=1, guidance_scale=0.0).images[0]"""
STEPS = 4  # the grid of a student: 1, 2 and 4 of these at trailing timesteps


def exports(study: Study) -> dict[str, ModelExport]:
    """Return the default student of each image set, and that of each row of Table 1."""
    profile = study.profile
    offered = {}
    for settings in profile.sets:
        pipeline = small_pipeline(study.workbench(settings))
        offered[f"add_{settings.images}{settings.size}"] = ModelExport(
            f"A student of Adversarial Diffusion Distillation on {settings.images}",
            pipeline.save_pretrained,
            SMALL_USAGE.replace("CAPTION", study.workbench(settings).images.train.captions[0]),
            "diffusers",
        )
    for name, row in profile.published.settings().items():
        offered[f"add_{name.replace('.', '_')}"] = ModelExport(
            f"{row.student} distilled from {row.teacher}, row {name} of Table 1",
            _published(row, row_folder(study, name)),
            PIPELINE_USAGE,
            "diffusers",
            tuple(dict.fromkeys([PIPELINES[row.student], PIPELINES[row.teacher]])),
        )
    return offered


def student_scheduler(trained_with: Any, terminal_snr: TerminalSnr) -> LCMScheduler:
    """Return the scheduler of diffusers that samples as :func:`okml.add.sampling.sample_student`.

    The scheduler of latent consistency models adds new noise to each estimate, too, and takes the
    same timesteps for 1, 2 and 4 steps: 999; 999 and 499; 999, 749, 499 and 249. It starts from
    noise alone. Its scaling of timesteps is so large that its skip connection vanishes.

    Args:
        trained_with: The diffusers scheduler of the base model.
        terminal_snr: The way in which the student's last timestep lost its signal.
    """
    rescaled = {"rescale_betas_zero_snr": True} if terminal_snr == "rescale" else {}
    scheduler: LCMScheduler = LCMScheduler.from_config(
        trained_with.config, original_inference_steps=STEPS, timestep_scaling=1e6,
        clip_sample=False, **rescaled,
    )  # fmt: skip
    return scheduler


def small_pipeline(bench: Workbench) -> CaptionPipeline:
    """Return the first seed's student of an image set as a pipeline."""
    student = bench.student("default", bench.profile.seeds[0]).denoiser
    assert isinstance(student, Denoiser)
    scheduler = student_scheduler(bench.scheduler, bench.settings.add.terminal_snr)
    unet = copy.deepcopy(student.network).cpu()  # the study's own stays on its device
    return CaptionPipeline(unet, scheduler, bench.settings.text, bench.settings.patch)


def _published(settings: FullScaleSettings, run_dir: Path) -> Callable[[Path], None]:
    """Return the writer of a student of a published model."""

    def save(folder: Path) -> None:
        student_pipeline(settings, run_dir).save_pretrained(folder, safe_serialization=True)

    return save


def student_pipeline(settings: FullScaleSettings, run_dir: Path) -> DiffusionPipeline:
    """Return the pipeline of diffusers of a run's averaged student, at the size it has learned."""
    unet = load_student(settings, run_dir).network
    assert isinstance(unet, ModelMixin)
    base = pipeline_folder(settings.student)
    kind = StableDiffusionXLPipeline if settings.student == "sdxl" else StableDiffusionPipeline
    # The checker of what images show is no part of the training and is not fetched.
    unchecked = {"safety_checker": None, "requires_safety_checker": False}
    options: dict[str, Any] = {"feature_extractor": None, "image_encoder": None}
    options |= {"add_watermarker": False} if settings.student == "sdxl" else unchecked
    pipeline: DiffusionPipeline = kind.from_pretrained(base, unet=unet, **options)
    unet.register_to_config(sample_size=settings.side // pipeline.vae_scale_factor)
    pipeline.scheduler = student_scheduler(pipeline.scheduler, settings.add.terminal_snr)
    return pipeline
