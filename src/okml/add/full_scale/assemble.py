"""A distillation of published models from their parts."""

from __future__ import annotations

import torch
from torch import Tensor

from okml.add.denoiser import Denoiser
from okml.add.full_scale.models import Pipeline
from okml.add.full_scale.prompts import NEGATIVE_PROMPT, SdxlPrompts, empty_sdxl_condition
from okml.add.full_scale.settings import FullScaleSettings
from okml.add.full_scale.shards import token_ids
from okml.add.interfaces import Condition, FeatureNetwork, Networks
from okml.add.schedule import NoiseSchedule
from okml.add.student import make_student, shard_student
from okml.add.task import AdversarialDistillation


def assemble(
    settings: FullScaleSettings,
    weights: Denoiser,
    own: Pipeline,
    teacher: Pipeline,
    features: FeatureNetwork,
    text_width: int,
    image_width: int,
) -> AdversarialDistillation:
    """Return the task that :func:`okml.training.fit` runs.

    Args:
        settings: The settings of a row of Table 1.
        weights: The student's network in float32, which a copy of the half-precision teacher is
            not; it is trained itself, so that it is held once.
        own: The pipeline that the student comes from; its network is not used.
        teacher: The teacher's pipeline; ``own`` itself unless the pair is mixed (Table 1e).
        features: The feature network of the discriminator.
        text_width: The width of c_text in the batches.
        image_width: The width of c_img in the batches.
    """
    chosen = settings.add
    student = make_student(
        weights,
        chosen.student_init,
        gradient_checkpointing=settings.gradient_checkpointing,
        copied=False,
    )
    if settings.shard_student:
        shard_student(student, settings.training.mixed_precision)
    mixed = teacher is not own
    empty, negative = fixed_conditions(teacher)
    networks = Networks(
        teacher=teacher.denoiser,
        teacher_schedule=NoiseSchedule.from_scheduler(teacher.scheduler),
        features=features if chosen.adversarial else None,
        codec=own.codec,
        teacher_codec=teacher.codec if mixed else None,
        prompt_encoder=own.prompts,
        teacher_prompt_encoder=teacher.prompts if mixed else None,
        null_condition=empty,
        negative_condition=negative,
    )
    return AdversarialDistillation(
        student,
        NoiseSchedule.from_scheduler(own.scheduler, chosen.terminal_snr),
        networks,
        chosen,
        text_width=text_width,
        image_width=image_width,
        identity={
            "student": settings.student,
            "teacher": settings.teacher,
            "features": settings.features,
            "side": settings.side,
        },
    )


@torch.no_grad()
def fixed_conditions(
    pipeline: Pipeline, device: torch.device | None = None
) -> tuple[Condition, Condition]:
    """Return the empty condition and NFSD's negative prompt, ``[1, ...]`` each.

    SDXL-base was trained with zeros for the empty prompt, the others with its encoding.

    Args:
        pipeline: The model whose text towers encode the prompts.
        device: The device of its text towers; None for the CPU.
    """
    device = device or torch.device("cpu")
    negative = encode_prompts(pipeline, [NEGATIVE_PROMPT], device)
    if isinstance(pipeline.prompts, SdxlPrompts):
        return empty_sdxl_condition(negative), negative
    return encode_prompts(pipeline, [""], device), negative


@torch.no_grad()
def encode_prompts(pipeline: Pipeline, captions: list[str], device: torch.device) -> Condition:
    """Return the UNet's arguments for captions."""
    ids: dict[str, Tensor] = {
        name: value.to(device) for name, value in token_ids(captions, pipeline.tokenize).items()
    }
    made: Condition = pipeline.prompts(ids)
    return made
