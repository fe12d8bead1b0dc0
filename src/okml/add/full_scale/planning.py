"""Memory of card and machine, hours and disk of a full-scale distillation, by arithmetic.

Operations were counted on the ``meta`` device with torch's own counter, and activations of UNets,
decoder and DINOv2 ViT-S with saved-tensor hooks, for one example of 512 by 512; those of the other
feature networks follow from ViT-S by tokens, width and depth. Nothing here was run on a GPU: take
three steps with the real settings before a long run.

All networks that a training uses lie on the card from its first step to its last, the text towers
included. What comes and goes counts at its larger time: while a gradient is computed, or while
AdamW takes its step.
"""

from __future__ import annotations

from okml.add.full_scale.architectures import (
    IMAGE_WIDTH,
    PUBLISHED_PARAMETERS,
    TEXT_WIDTH,
    TOWERS,
    VISION,
    Backbone,
    FeatureName,
)
from okml.add.full_scale.models import CLIP_G14
from okml.add.full_scale.run import SECOND_CLIP
from okml.add.full_scale.settings import EXAMPLES, FullScaleSettings
from okml.data import entry
from okml.plan import Item
from okml.runtime import GIB

# 10^12 operations of a forward pass of one example.
UNET_TERA = {"sd15": 0.80, "sd21": 0.80, "sdxl": 1.59}
DECODE_TERA, ENCODE_TERA = 2.51, 1.12
# Of these, self-attention, which grows with the square of the area; all else grows with the area.
ATTENTION_TERA = {"sd15": 0.12, "sd21": 0.12, "sdxl": 0.034}
DECODE_ATTENTION_TERA = 0.034
FEATURE_TERA = {
    "dino_vits16": 0.009,
    "dinov2_vits14": 0.093,
    "dinov2_vitl14": 1.01,
    "clip_vitl14": 0.16,
}
# GiB that one example keeps for the backward pass in bfloat16: (plain, checkpointed).
UNET_GIB = {"sd15": (3.69, 0.14), "sd21": (2.79, 0.14), "sdxl": (2.64, 0.14)}
DECODE_GIB = (2.85, 0.40)
DECODED_BYTES = 3100  # of a pixel, while an image is decoded in float32 without a gradient
DECODE_RECOMPUTED_GIB = 1.31  # the decoder's largest block, recomputed for one image at a time
FEATURE_GIB = {
    "dino_vits16": 0.09,
    "dinov2_vits14": 0.65,
    "dinov2_vitl14": 3.4,
    "clip_vitl14": 0.64,
}
HEADROOM_GIB = 3.0  # context and libraries of the driver, what the allocator cannot join
TAPS = 5  # heads read a feature network's first tokens and four of its blocks

# Operations a second that an H100 is assumed to sustain.
SUSTAINED = 0.35 * 989e12
SUSTAINED_TF32 = 0.35 * 495e12  # scores are drawn in float32
PREFETCH = 2  # steps that torch's loader keeps ready for each worker
# Bytes of an example in the index of the shards; each worker holds a copy once it has read it.
INDEX_BYTES = 1300
# Bytes of an example in a shard: JPEG, latents, both embeddings, caption.
EXAMPLE_BYTES = 190_000


def card_memory(settings: FullScaleSettings, processes: int = 1) -> list[Item]:
    """Return what one distillation holds on a GPU at its peak.

    Args:
        settings: The settings, as one process would have them.
        processes: The processes that share its micro-batches, each with a GPU. Without shards each
            has a second copy of the gradients, the buckets of DDP.
    """
    student, half = _unet(settings.student), _frozen_bytes(settings)
    shares = processes if settings.shard_student else 1
    share = student // shares
    averaged = settings.training.ema_decay is not None
    items = [
        Item.product("student: weights, gradient, both moments" + ", average" * averaged,
                     parameters=share, bytes=16 + 4 * averaged),
        Item.product("teacher", parameters=_unet(settings.teacher), bytes=half),
        Item.product("text towers", parameters=_text_towers(settings), bytes=half),
        Item.sum("autoencoder, feature network, heads",
                 autoencoders=half * len(_families(settings)) * PUBLISHED_PARAMETERS["vae"],
                 feature_network=half * _feature_parameters(settings.features),
                 heads=16 * _head_parameters(settings)),
    ]  # fmt: skip
    if processes > shares:
        items.append(Item.product("gradients that processes exchange", parameters=student, bytes=4))
    # AdamW works on all weights of a GPU at once.
    roots = Item.product("passing: roots of AdamW's second moments", parameters=share, bytes=4)
    passing = max(_gradient(settings), roots, key=lambda item: item.value)
    return [*items, passing, _context()]


def drawing_memory(name: Backbone, settings: FullScaleSettings) -> list[Item]:
    """Return what a teacher and the networks of the scores hold on their GPU, in float32."""
    side, pipeline = settings.teacher_side(name), _pipeline(name)
    scorers = sum(entry(each).bytes or 0 for each in (CLIP_G14, SECOND_CLIP))
    return [
        Item.product("UNet, text towers, autoencoder", parameters=pipeline, bytes=4),
        Item.gib("networks of the CLIP scores", scorers, "sizes in the catalog"),
        Item.product("passing: images while they are decoded",
                     images=settings.drawn_at_once(side), pixels=side**2, bytes=DECODED_BYTES),
        _context(),
    ]  # fmt: skip


def drawing_host_memory(name: Backbone) -> list[Item]:
    """Return what lies outside the card while a teacher is loaded in float32."""
    return [Item.product("memory while a teacher is loaded", parameters=_pipeline(name), bytes=4)]


def _pipeline(name: Backbone) -> int:
    """Return the weights of a published model."""
    towers = sum(PUBLISHED_PARAMETERS[f"text.{tower}"] for tower in TOWERS[name])
    return _unet(name) + towers + PUBLISHED_PARAMETERS["vae"]


def _context() -> Item:
    return Item.gib("the driver's context, fragmentation", HEADROOM_GIB * GIB, "assumed")


def micro_batch(settings: FullScaleSettings) -> int:
    """Return the examples of a micro-batch."""
    return -(-settings.training.batch_size // settings.training.gradient_accumulation)


def _unet(name: Backbone) -> int:
    return PUBLISHED_PARAMETERS[f"unet.{name}"]


def _families(settings: FullScaleSettings) -> set[Backbone]:
    return {settings.student, settings.teacher}


def _frozen_bytes(settings: FullScaleSettings) -> int:
    return 2 if settings.frozen_dtype == "bfloat16" else 4


def _text_towers(settings: FullScaleSettings) -> int:
    """Return the weights of all text towers that a distillation asks."""
    towers = [tower for family in _families(settings) for tower in TOWERS[family]]
    return sum(PUBLISHED_PARAMETERS[f"text.{tower}"] for tower in towers)


def _feature_parameters(name: FeatureName) -> int:
    """Return the weights of a feature network; layer norms and positions are left out."""
    settings = VISION[name].settings
    width, inner = settings["hidden_size"], settings["intermediate_size"]
    return int(settings["num_hidden_layers"] * (4 * width**2 + 2 * width * inner))


def _head_parameters(settings: FullScaleSettings) -> int:
    """Return the weights of the heads: two convolutions each, and the last one's projection."""
    width, heads = VISION[settings.features].settings["hidden_size"], settings.add.heads
    told = TEXT_WIDTH * settings.add.condition_text + IMAGE_WIDTH * settings.add.condition_image
    each = (1 + heads.kernel) * width**2 + heads.embedding * (width + told)
    return int(TAPS * each) * settings.add.adversarial


def _gradient(settings: FullScaleSettings) -> Item:
    """Return what a micro-batch keeps for its backward pass."""
    kept = int(settings.gradient_checkpointing)
    one = GIB * (settings.side / 512) ** 2
    example = micro_batch(settings) * one
    return Item.sum(
        "passing: half-precision copies that autocast holds, activations",
        copies=2 * _unet(settings.student),
        UNet=example * UNET_GIB[settings.student][kept],
        decoder=example * DECODE_GIB[kept],
        features=example * FEATURE_GIB[settings.features],
        a_recomputed_block=one * DECODE_RECOMPUTED_GIB * kept,
    )


def host_memory(settings: FullScaleSettings, examples: int = EXAMPLES) -> list[Item]:
    """Return what a distillation and its evaluation hold outside the card, by moments.

    They follow one another, so the largest counts. The student moves to the card before a
    checkpoint is read, the frozen networks with the first batch after that.

    Args:
        settings: The settings of the distillation.
        examples: The number of examples in its shards.
    """
    student, half, training = _unet(settings.student), _frozen_bytes(settings), settings.training
    families = _families(settings)
    others = _text_towers(settings) + len(families) * PUBLISHED_PARAMETERS["vae"]
    both, frozen = sum(map(_unet, families)) + others, _unet(settings.teacher) + others
    copies, index = 1 + (training.ema_decay is not None), examples * INDEX_BYTES
    return [
        Item.sum("memory while networks are loaded", pipelines=half * both, student=4 * student,
                 index=index),
        Item.sum("memory while a checkpoint is read", frozen_networks=half * frozen,
                 weights_and_moments=(8 + 4 * copies) * student, index=index),
        Item.sum("memory while a checkpoint is written", weights=4 * copies * student,
                 indices=(1 + training.workers) * index, images_that_wait=shared_memory(settings)),
        Item.sum("memory while the student is evaluated", weights=4 * copies * student,
                 network=4 * student),
    ]  # fmt: skip


def shared_memory(settings: FullScaleSettings) -> int:
    """Return the bytes of the images that workers have read and training has not taken yet."""
    training = settings.training
    return training.workers * PREFETCH * training.batch_size * 3 * 4 * settings.side**2


def step_operations(settings: FullScaleSettings) -> float:
    """Return the operations of one example in one step: both phases."""
    add, checkpointed = settings.add, int(settings.gradient_checkpointing)
    unet, feature = UNET_TERA[settings.student], FEATURE_TERA[settings.features]
    # Forward, backward by input and by weights, and forward again; frozen: no pass for weights.
    total = unet * (3 + checkpointed)
    pixels = add.adversarial or add.distillation_space == "pixel"
    total += DECODE_TERA * (2 + checkpointed if pixels else 1)
    if add.adversarial:
        total += 2 * feature
        made = 0 if add.shared_fakes else unet + DECODE_TERA + feature
        total += made + feature
    if add.distillation != "none":
        guided = add.teacher_steps * (1 + (add.guidance != 1))
        teacher = (3 if add.distillation == "nfsd" else guided) * UNET_TERA[settings.teacher]
        if settings.teacher != settings.student:
            teacher += ENCODE_TERA
        total += teacher + DECODE_TERA * (add.distillation_space == "pixel")
    return total * 1e12 * (settings.side / 512) ** 2


def drawing_tera(name: Backbone, side: int, calls: int, images: int) -> float:
    """Return the 10^12 operations of calls of a UNet and of decoded images, both of ``side``."""
    area = (side / 512) ** 2
    call = UNET_TERA[name] + (area - 1) * ATTENTION_TERA[name]
    image = DECODE_TERA + (area - 1) * DECODE_ATTENTION_TERA
    return area * (calls * call + images * image)


def training_hours(settings: FullScaleSettings) -> Item:
    """Return the hours of one distillation on one GPU."""
    examples = (settings.training.max_steps or 0) * settings.training.batch_size
    operations = step_operations(settings) * examples
    return Item.hours(
        "training on one H100",
        operations / SUSTAINED,
        f"{examples:,} examples = {operations:.3g} operations, {SUSTAINED:.3g} a second sustained",
    )
