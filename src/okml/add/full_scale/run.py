"""Training, evaluation and timing of published models, from settings and a folder."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from okml.accelerator import pick_device, release_memory
from okml.add.denoiser import Denoiser
from okml.add.full_scale.architectures import LATENT_SCALES, LATENT_SHAPE, Backbone, build_unet
from okml.add.full_scale.assemble import assemble, encode_prompts
from okml.add.full_scale.coco import (
    Caption,
    Clip,
    Coco,
    Draw,
    GenerationScores,
    clip_from,
    score_drawings,
)
from okml.add.full_scale.models import (
    CLIP_G14,
    Pipeline,
    load_features,
    load_image_condition,
    load_pipeline,
    load_text_condition,
    load_unet,
)
from okml.add.full_scale.prepare import Encoders, encode_pairs
from okml.add.full_scale.settings import EXAMPLES, FullScaleSettings
from okml.add.full_scale.shards import ShardBatches, find_shards, stream_pairs, write_shards
from okml.add.interfaces import Condition
from okml.add.latency import LatencyTable, measure_latency
from okml.add.sampling import sample_student
from okml.add.schedule import NoiseSchedule
from okml.add.task import AdversarialDistillation
from okml.runtime import pick_dtype, progress
from okml.training import History, fit, load_weights

Sample = Callable[[Tensor, Condition, torch.Generator], Tensor]
SECOND_CLIP = "clip_vitl14"  # the first is of the family that c_text comes from


def train(settings: FullScaleSettings, run_dir: Path) -> History:
    """Distil, or go on with the distillation that ``run_dir`` holds.

    Run it under ``accelerate launch`` to use several GPUs.

    Raises:
        DataError: If shards or models cannot be had.
    """
    shards = find_shards(settings.shard_folder)  # before gigabytes are loaded
    task, source = _loaded(settings, shards)
    return fit(task, source, settings.training, run_dir)


def _loaded(
    settings: FullScaleSettings, shards: Sequence[Path]
) -> tuple[AdversarialDistillation, ShardBatches]:
    """Return task and examples; networks that neither of them uses end with this call."""
    dtype = pick_dtype(settings.frozen_dtype)
    checkpointing = settings.gradient_checkpointing
    own = load_pipeline(settings.student, dtype, checkpointing=checkpointing)
    teacher = own
    if settings.teacher != settings.student:
        teacher = load_pipeline(settings.teacher, dtype, checkpointing=checkpointing)
    weights = Denoiser(load_unet(settings.student, torch.float32))
    task = assemble(settings, weights, own, teacher, load_features(settings.features, dtype))
    source = ShardBatches(
        shards,
        LATENT_SCALES[settings.student],
        own.tokenize,
        () if teacher is own else teacher.tokenize,
    )
    return task, source


def free_memory() -> None:
    """Free unused memory, including what torch keeps cached on the GPU."""
    gc.collect()
    release_memory()


def load_student(settings: FullScaleSettings, run_dir: Path) -> Denoiser:
    """Return the averaged student of a run's newest checkpoint, in evaluation mode on the CPU."""
    student = Denoiser(build_unet(settings.student, "cpu"))
    student.load_state_dict(load_weights(run_dir)["ema.student"])
    return student.eval()


def drawer(
    pipeline: Pipeline,
    sample: Sample,
    device: torch.device,
    latent_shape: Sequence[int] = LATENT_SHAPE,
) -> Draw:
    """Return a function from COCO captions to images; the noise of each depends on its image.

    Args:
        pipeline: The pipeline whose text towers and decoder are used.
        sample: A function from noise, condition and generator to latents.
        device: The device of the pipeline.
        latent_shape: The shape ``(c, h, w)`` of the latents.
    """

    def draw(rows: Sequence[Caption]) -> Tensor:
        seeds = [torch.Generator().manual_seed(row.image_id) for row in rows]
        noise = torch.stack([torch.randn(tuple(latent_shape), generator=seed) for seed in seeds])
        condition = encode_prompts(pipeline, [row.text for row in rows], device)
        generator = torch.Generator(device).manual_seed(rows[0].image_id)
        with torch.no_grad():
            return pipeline.codec.decode(sample(noise.to(device), condition, generator))

    return draw


def evaluate(
    settings: FullScaleSettings, run_dir: Path, device_name: str = "auto"
) -> dict[str, list[float]]:
    """Return FID-5k and CLIP scores of a run's averaged student, by metric and steps.

    Each is a list, see :meth:`okml.add.full_scale.coco.GenerationScores.compute`.
    """
    device, coco = pick_device(device_name), Coco.load()
    pipeline = load_pipeline(settings.student).to(device)
    student = load_student(settings, run_dir).to(device, torch.bfloat16)
    schedule = NoiseSchedule.from_scheduler(pipeline.scheduler, settings.add.terminal_snr)
    scores = scores_with_real_images(coco, settings, device, {"_vitl14": clip_from(SECOND_CLIP)})

    def sample(
        steps: int, noise: Tensor, condition: Condition, generator: torch.Generator
    ) -> Tensor:
        return sample_student(student, schedule, noise, condition, steps, generator)

    results: dict[str, list[float]] = {}
    for steps in settings.evaluation_steps:
        draw = drawer(pipeline, partial(sample, steps), device)
        found = score_drawings(coco, draw, scores, settings.evaluation_batch)
        results |= {f"{name}@{steps}": value for name, value in found.items()}
    return results


def scores_with_real_images(
    coco: Coco, settings: FullScaleSettings, device: torch.device, clips: Mapping[str, Clip] = {}
) -> GenerationScores:
    """Return scores that have seen the real images, with CLIP ViT-g-14 and further models."""
    scores = GenerationScores(device, clips={"": clip_from(CLIP_G14), **clips})
    for images in progress(coco.images(settings.side, settings.evaluation_batch), "real images"):
        scores.add_real(images)
    return scores


def time_released(
    name: Backbone, device_name: str = "auto", steps: Sequence[int] = (1, 2, 3, 4)
) -> LatencyTable:
    """Time a released student in float16 as the digest does: one image of 512 by 512."""
    device = pick_device(device_name)
    pipeline = load_pipeline(name, torch.float16, turbo=True).to(device)
    pipeline.codec.float()  # SDXL's autoencoder overflows in float16
    schedule = NoiseSchedule.from_scheduler(pipeline.scheduler, "noise_only")
    caption = ["A cinematic shot of a baby raccoon in a library"]
    return measure_latency(
        pipeline.denoiser,
        schedule,
        pipeline.codec,
        lambda: encode_prompts(pipeline, caption, device),
        (1, *LATENT_SHAPE),
        device,
        steps,
    )


def prepare(
    settings: FullScaleSettings,
    urls: str,
    examples: int = EXAMPLES,
    *,
    with_prompts: bool = False,
    device_name: str = "auto",
) -> list[Path]:
    """Write training shards from raw webdataset shards of captioned images; return the files.

    Args:
        settings: The settings of the student, whose autoencoder makes the latents.
        urls: Addresses as :func:`okml.add.full_scale.shards.stream_pairs` takes them.
        examples: The largest number of examples.
        with_prompts: Whether the outputs of the text towers are stored too.
        device_name: The device as a profile names it.
    """
    device = pick_device(device_name)
    pipeline = load_pipeline(settings.student)
    text, tokenize = load_text_condition()
    encoders = Encoders(
        codec=pipeline.codec,
        text=text,
        text_tokenize=tokenize,
        image=load_image_condition(),
        prompts=pipeline.prompts if with_prompts else None,
        tokenize=pipeline.tokenize,
    ).to(device)
    pairs = encode_pairs(stream_pairs(urls), encoders, device, settings.side)
    return write_shards(islice(pairs, examples), settings.shard_folder)
