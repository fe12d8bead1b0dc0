"""Training, evaluation and timing of models of the published forms."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from okml.accelerator import pick_device, release_memory, tensor_float32
from okml.add.denoiser import Denoiser
from okml.add.full_scale.architectures import Backbone
from okml.add.full_scale.assemble import assemble, encode_prompts
from okml.add.full_scale.coco import Caption, Coco, Draw, score_drawings
from okml.add.full_scale.models import (
    CLIP_G14,
    Pipeline,
    empty_unet,
    load_features,
    load_pipeline,
    load_unet,
)
from okml.add.full_scale.scores import ClipSimilarity, GenerationScores, InceptionFeatures
from okml.add.full_scale.settings import FullScaleSettings
from okml.add.full_scale.shards import ShardBatches, find_shards
from okml.add.latency import LatencyTable, measure_latency
from okml.add.sampling import Sampler, draw_noise, student_sampler
from okml.add.schedule import NoiseSchedule
from okml.add.task import AdversarialDistillation
from okml.runtime import pick_dtype, progress
from okml.training import History, fit, load_weights

SECOND_CLIP = "clip_vitl14"  # the first is of the family that c_text comes from
EVALUATED_IN = torch.float32  # see okml.add.schedule: at pure noise every error counts 14.6 times


def train(settings: FullScaleSettings, run_dir: Path) -> History:
    """Distil, or go on with the distillation that ``run_dir`` holds.

    Run it under ``accelerate launch`` to use several GPUs.

    Raises:
        DataError: If shards or models cannot be had.
    """
    shards = find_shards(settings.shard_folder)  # missing shards stop it before gigabytes are read
    task, source = _loaded(settings, shards)
    return fit(task, source, settings.training, run_dir)


def _loaded(
    settings: FullScaleSettings, shards: Sequence[Path]
) -> tuple[AdversarialDistillation, ShardBatches]:
    """Return task and examples; networks that neither of them uses end with this call."""
    dtype = pick_dtype(settings.frozen_dtype)
    checkpointing = settings.gradient_checkpointing

    def pipeline(name: Backbone) -> Pipeline:
        return load_pipeline(name, dtype, side=settings.side, checkpointing=checkpointing)

    own = pipeline(settings.student)
    teacher = own if settings.teacher == settings.student else pipeline(settings.teacher)
    source = ShardBatches(
        shards, own.codec.scale, own.tokenize, () if teacher is own else teacher.tokenize
    )
    task = assemble(
        settings,
        Denoiser(load_unet(settings.student, torch.float32)),
        own,
        teacher,
        load_features(settings.features, dtype),
        source.text_width,
        source.image_width,
    )
    return task, source


def free_memory() -> None:
    """Free unused memory, including what torch keeps cached on the GPU."""
    gc.collect()
    release_memory()


def load_student(settings: FullScaleSettings, run_dir: Path) -> Denoiser:
    """Return the averaged student of a run's newest checkpoint, in evaluation mode on the CPU."""
    student = Denoiser(empty_unet(settings.student))
    student.load_state_dict(load_weights(run_dir)["ema.student"])
    return student.eval()


def drawer(pipeline: Pipeline, sample: Sampler, device: torch.device, side: int) -> Draw:
    """Return a function from COCO captions to images; the noise of each depends on its image.

    Args:
        pipeline: The pipeline whose text towers and decoder are used.
        sample: A function from noise, condition and the generator of each image to latents.
        device: The device of the pipeline.
        side: The side of the images in pixels.
    """
    shape = pipeline.codec.latent_shape(side)

    def draw(rows: Sequence[Caption]) -> Tensor:
        # Noise between steps goes on where an image's first noise ended, so no batch changes it.
        generators = [torch.Generator().manual_seed(row.image_id) for row in rows]
        noise = draw_noise((len(rows), *shape), generators, device)
        with torch.no_grad(), tensor_float32():
            condition = encode_prompts(pipeline, [row.text for row in rows], device)
            return pipeline.codec.decode(sample(noise, condition, generators))

    return draw


def evaluate(
    settings: FullScaleSettings, run_dir: Path, device_name: str = "auto"
) -> dict[str, list[float]]:
    """Return FID-5k and CLIP scores of a run's averaged student, by metric and steps.

    Each is a list, see :meth:`okml.add.full_scale.scores.GenerationScores.compute`.
    """
    device, coco = pick_device(device_name), Coco.load()
    student = load_student(settings, run_dir).to(device)
    pipeline = load_pipeline(settings.student, EVALUATED_IN, side=settings.side).to(device)
    schedule = NoiseSchedule.from_scheduler(pipeline.scheduler, settings.add.terminal_snr)
    scores = scores_with_real_images(coco, settings, device)
    results: dict[str, list[float]] = {}
    for steps in settings.evaluation_steps:
        draw = drawer(pipeline, student_sampler(student, schedule, steps), device, settings.side)
        found = score_drawings(coco, draw, scores, settings.evaluation_batch)
        results |= {f"{name}@{steps}": value for name, value in found.items()}
    return results


def scores_with_real_images(
    coco: Coco, settings: FullScaleSettings, device: torch.device
) -> GenerationScores:
    """Return scores that have seen the real images, with CLIP ViT-g-14 and CLIP ViT-L/14."""
    clips = {"": ClipSimilarity.load(CLIP_G14), "_vitl14": ClipSimilarity.load(SECOND_CLIP)}
    scores = GenerationScores(device, InceptionFeatures(), clips, settings.side)
    scores.real = [_real_features(coco, settings.side, settings.evaluation_batch, device)]
    return scores


@lru_cache(maxsize=1)  # 82 MB outside the card, in place of a minute for each set of scores
def _real_features(coco: Coco, side: int, batch: int, device: torch.device) -> Tensor:
    scores = GenerationScores(device, InceptionFeatures(), side=side)
    for images in progress(coco.images(side, batch), "real images"):
        scores.add_real(images)
    return torch.cat(scores.real)


def time_drawing(
    pipeline: Pipeline,
    samplers: Mapping[int, Sampler],
    device: torch.device,
    side: int,
    repeats: int,
) -> LatencyTable:
    """Time one image from prompt to pixels, with every number of steps in turn."""
    caption = ["A cinematic shot of a baby raccoon in a library"]
    return measure_latency(
        samplers,
        pipeline.codec,
        lambda: encode_prompts(pipeline, caption, device),
        (1, *pipeline.codec.latent_shape(side)),
        device,
        repeats=repeats,
    )
