"""Memory, hours and disk of a full-scale distillation, by arithmetic.

Operations were counted on the ``meta`` device with torch's own counter, and activations of UNets,
decoder and DINOv2 ViT-S with saved-tensor hooks, for one example of 512 by 512; those of the other
feature networks follow from ViT-S by tokens, width and depth. Nothing here was run on a GPU: take
three steps with the real settings before a long run.
"""

from __future__ import annotations

from dataclasses import dataclass

from okml.add.full_scale.architectures import PUBLISHED_PARAMETERS, Backbone
from okml.add.full_scale.settings import FullScaleSettings
from okml.plan import Item
from okml.runtime import GIB

# 10^12 operations of a forward pass of one example.
UNET_TERA = {"sd15": 0.80, "sd21": 0.80, "sdxl": 1.59}
DECODE_TERA, ENCODE_TERA = 2.51, 1.12
FEATURE_TERA = {
    "dino_vits16": 0.009,
    "dinov2_vits14": 0.093,
    "dinov2_vitl14": 1.01,
    "clip_vitl14": 0.16,
}
# GiB that one example keeps for the backward pass in bfloat16: (plain, checkpointed).
UNET_GIB = {"sd15": (3.69, 0.14), "sd21": (2.79, 0.14), "sdxl": (2.64, 0.14)}
DECODE_GIB = (2.85, 0.40)
DECODE_RECOMPUTED_GIB = 1.31  # the decoder's largest block, while it is recomputed
FEATURE_GIB = {
    "dino_vits16": 0.09,
    "dinov2_vits14": 0.65,
    "dinov2_vitl14": 3.4,
    "clip_vitl14": 0.64,
}
SMALL_PARTS_GIB = 0.35  # autoencoder in bfloat16, feature network, heads with their Adam

# Operations a second that one GPU is assumed to sustain, and what of it reaches several.
SUSTAINED = {"h100": 0.35 * 989e12, "a100": 0.40 * 312e12}
COMMUNICATION = 0.12  # share of a step, with more than one GPU
# Of an example in a shard, in bytes: JPEG, latents, both embeddings, caption.
EXAMPLE_BYTES = 70_000
PROMPT_BYTES = {"sd15": 2 * 77 * 768, "sd21": 2 * 77 * 1024, "sdxl": 2 * (77 * 2048 + 1280 + 6)}


@dataclass(frozen=True)
class Need:
    """What a distillation takes.

    Attributes:
        gpu_memory_gib: Of each GPU, at the peak.
        hours: On all GPUs.
        items: The arithmetic.
    """

    gpu_memory_gib: float
    hours: float
    items: tuple[Item, ...]


def needs(settings: FullScaleSettings, gpus: int = 1, gpu: str = "h100") -> Need:
    """Return memory and hours of one distillation.

    Args:
        settings: Which.
        gpus: How many.
        gpu: A key of ``SUSTAINED``.
    """
    memory = (*_static(settings, gpus), _activations(settings, gpus))
    hours = _hours(settings, gpus, gpu)
    total = sum(item.value for item in memory)
    return Need(total, hours.value, (*memory, _operations(settings), hours))


def micro_batch(settings: FullScaleSettings, gpus: int = 1) -> int:
    """Return the examples of a micro-batch on one GPU."""
    training = settings.training
    return -(-training.batch_size // (training.gradient_accumulation * gpus))


def _static(settings: FullScaleSettings, gpus: int) -> list[Item]:
    student = PUBLISHED_PARAMETERS[f"unet.{settings.student}"]
    teacher = PUBLISHED_PARAMETERS[f"unet.{settings.teacher}"]
    share = gpus if settings.shard_student else 1
    averaged = settings.training.ema_decay is not None and not settings.shard_student
    half = 2 if settings.frozen_dtype == "bfloat16" else 4
    bytes_ = 16 + 4 * averaged
    teachers = teacher * half * (settings.add.distillation != "none")
    return [
        Item(
            what="student: weights, gradient, both moments" + ", average" * averaged,
            value=student * bytes_ / share / GIB,
            unit="GiB",
            follows_from=f"{student:,} x {bytes_} bytes, float32, over {share} GPUs",
        ),
        Item(
            what="half-precision copies of the student's weights that autocast holds",
            value=student * 2 / share / GIB,
            unit="GiB",
            follows_from=f"{student:,} x 2 bytes over {share} GPUs",
        ),
        Item(
            what="teacher",
            value=teachers / GIB,
            unit="GiB",
            follows_from=f"{teacher:,} x {half} bytes"
            if teachers
            else "distillation none asks no teacher",
        ),
        Item(
            what="autoencoder, feature network, heads",
            value=SMALL_PARTS_GIB,
            unit="GiB",
            follows_from="83.7 M x 2 bytes, 22 M x 2 bytes, 8.2 M x 16 bytes",
        ),
    ]


def _activations(settings: FullScaleSettings, gpus: int) -> Item:
    kept = int(settings.gradient_checkpointing)
    batch = micro_batch(settings, gpus)
    parts = [UNET_GIB[settings.student][kept], DECODE_GIB[kept], FEATURE_GIB[settings.features]]
    if settings.gradient_checkpointing:
        parts.append(DECODE_RECOMPUTED_GIB)
    area = (settings.side / 512) ** 2
    return Item(
        what="activations for the backward pass",
        value=batch * sum(parts) * area,
        unit="GiB",
        follows_from=f"{batch} x ({' + '.join(f'{part:g}' for part in parts)}) GiB: UNet, decoder, "
        "features" + ", largest recomputed block" * kept,
    )


def step_operations(settings: FullScaleSettings) -> float:
    """Return the operations of one example in one step: both phases."""
    add = settings.add
    unet, feature = UNET_TERA[settings.student], FEATURE_TERA[settings.features]
    checkpointed = int(settings.gradient_checkpointing)
    # Forward, backward by input and by weights, and forward again; frozen: no pass for weights.
    student = unet * (3 + checkpointed)
    pixels = add.adversarial or add.distillation_space == "pixel"
    student += DECODE_TERA * (2 + checkpointed if pixels else 1)
    total = student + (2 * feature if add.adversarial else 0)
    if add.adversarial:
        made = 0 if add.shared_fakes else unet + DECODE_TERA + feature
        total += add.critic_steps * (made + feature)
    total += _teacher_operations(settings)
    return total * 1e12 * (settings.side / 512) ** 2


def _teacher_operations(settings: FullScaleSettings) -> float:
    add = settings.add
    if add.distillation == "none":
        return 0.0
    passes = 3 if add.distillation == "nfsd" else add.teacher_steps * (1 + (add.guidance != 1))
    total = passes * UNET_TERA[settings.teacher]
    if settings.teacher != settings.student:
        total += ENCODE_TERA
    return total + DECODE_TERA * (add.distillation_space == "pixel")


def _operations(settings: FullScaleSettings) -> Item:
    return Item(
        what="operations of an example, both phases",
        value=step_operations(settings) / 1e12,
        unit="10^12",
        follows_from="passes of UNet, decoder, features and teacher, section 9.3 of the notes",
    )


def _hours(settings: FullScaleSettings, gpus: int, gpu: str) -> Item:
    steps = settings.training.max_steps or 0
    examples = steps * settings.training.batch_size
    operations = step_operations(settings) * examples
    factor = 1 + COMMUNICATION * (gpus > 1)
    return Item(
        what=f"training on {gpus} {gpu}",
        value=operations / SUSTAINED[gpu] / gpus * factor / 3600,
        unit="h",
        follows_from=f"{steps} x {settings.training.batch_size} examples = {operations:.3g} "
        f"operations, {SUSTAINED[gpu]:.3g} a second and GPU sustained",
    )


def shard_gib(examples: int, backbone: Backbone, with_prompts: bool) -> float:
    """Return the disk that prepared shards take."""
    each = EXAMPLE_BYTES + PROMPT_BYTES[backbone] * with_prompts
    return examples * each / GIB
