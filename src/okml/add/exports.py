"""The networks that the chapter offers: distilled students, and pipelines around them."""

from __future__ import annotations

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
from torch import nn

from okml.add.denoiser import Denoiser
from okml.add.experiments.published import row_folder
from okml.add.full_scale.models import PIPELINES, pipeline_folder
from okml.add.full_scale.run import load_student
from okml.add.full_scale.settings import FullScaleSettings
from okml.add.settings import TerminalSnr
from okml.add.study import Study
from okml.export import ModelExport

SMALL_USAGE = """from diffusers import LCMScheduler, UNet2DModel

unet = UNet2DModel.from_pretrained("FOLDER", subfolder="unet")
scheduler = LCMScheduler.from_pretrained("FOLDER", subfolder="scheduler")
# unet(noisy, timestep, class_labels=vectors of okml.add.images.prompts.caption_vectors)"""
PIPELINE_USAGE = """from diffusers import DiffusionPipeline

draw = DiffusionPipeline.from_pretrained("FOLDER")
image = draw("a raccoon in a library", num_inference_steps=1, guidance_scale=0.0).images[0]"""
STEPS = 4  # the grid of a student: 1, 2 and 4 of these at trailing timesteps


def exports(study: Study) -> dict[str, ModelExport]:
    """Return the default student of each image set, and that of each row of Table 1."""
    profile = study.profile
    offered = {}
    for settings in profile.sets:
        trained = study.workbench(settings).distil("default", profile.seeds[0])
        offered[f"add_{settings.images}{settings.size}"] = ModelExport(
            f"A student of Adversarial Diffusion Distillation on {settings.images}",
            _small(study, trained.denoiser),
            SMALL_USAGE,
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

    That of consistency models noises each estimate afresh, too, and takes the same timesteps for
    1, 2 and 4 steps: 999; 999 and 499; 999, 749, 499 and 249. It starts from noise alone. With so
    large a scaling of timesteps, its skip connection vanishes.

    Args:
        trained_with: The diffusers scheduler of the base model.
        terminal_snr: How the student's last timestep lost its signal.
    """
    rescaled = {"rescale_betas_zero_snr": True} if terminal_snr == "rescale" else {}
    scheduler: LCMScheduler = LCMScheduler.from_config(
        trained_with.config, original_inference_steps=STEPS, timestep_scaling=1e6,
        clip_sample=False, **rescaled,
    )  # fmt: skip
    return scheduler


def _small(study: Study, denoiser: nn.Module) -> Callable[[Path], None]:
    """Return the writer of a student on small images."""

    def save(folder: Path) -> None:
        assert isinstance(denoiser, Denoiser)
        assert isinstance(denoiser.network, ModelMixin)
        denoiser.network.save_pretrained(folder / "unet")
        scheduler = study.main.scheduler
        student_scheduler(scheduler, study.profile.add.terminal_snr).save_pretrained(
            folder / "scheduler"
        )

    return save


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
