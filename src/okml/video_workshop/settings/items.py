"""The settings of the experiments on item representations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from okml.data.logs.microlens import Modality
from okml.seqrec.losses import AnyLoss, ChunkedSoftmaxSettings, InBatchSoftmaxSettings
from okml.settings import (
    AtLeastOne,
    BelowOne,
    Count,
    Distinct,
    Fraction,
    LearningRate,
    NonNegative,
    Positive,
    Settings,
    Width,
    compared_once,
)
from okml.video_workshop.settings.users import UserModelSettings

ItemArm = Literal[
    "id",  # one row per item
    "hash",  # one row, shared with other items
    "random_codes",  # a random code tuple, the control of sid_unigram
    "sid_unigram",  # one row per code of each level
    "sid_prefix",  # one row per prefix, folded into the rows of the other arms
    "sid_rqvae",  # sid_unigram with codes of an RQ-VAE
    "content",  # a network over content, without rows
    "hybrid_sid",  # own row and all prefixes, mixed by evidence
    "hybrid_content",  # own row and content, mixed by evidence
    "hybrid_shuffled",  # its control: items without training events have each other's content
    "content_sum",  # own row plus content
    # Ablations of hybrid_sid: the gate alone, the pseudo-cold items alone, and neither.
    "hybrid_gate",
    "hybrid_played",
    "hybrid_naive",
]


# Item representations of the last-item experiment. id: a row; content: a network over frozen
# vectors; both: the sum of both; noise: its control, the sum with random vectors.
LastItemArm = Literal["id", "both", "content", "noise"]


class LeaveOneOutSettings(Settings):
    """SASRec under the protocol of MicroLens's table; the defaults are those of its scripts."""

    arms: AtLeastOne[LastItemArm] = ("id", "both", "noise", "content")
    once: Distinct[LastItemArm] = ()  # also compared, with the first seed only
    features: Distinct[Modality] = ()  # released vectors; empty: those of the new-item experiment
    model: UserModelSettings = UserModelSettings(
        length=10, width=1024, layers=2, heads=2, dropout=0.1, actions=False, requests=False
    )
    loss: AnyLoss = InBatchSoftmaxSettings()
    epochs: Count = 50  # the largest number
    patience: Count = 6  # epochs without a new best HR@10 of validation
    batch: Count = 512  # windows, one a user
    learning_rate: LearningRate = 1e-4
    weight_decay: NonNegative = 0.1
    gradient_clip: Positive = 5.0

    _once = compared_once("arms", "once")


class RQVAESettings(Settings):
    """TIGER's sizes; AdamW, which needs fewer steps than TIGER's Adagrad at a rate of 0.4."""

    hidden: tuple[Width, ...] = (512, 256, 128)  # layers of the encoder, mirrored after it
    latent: Width = 32  # d_z
    commitment: NonNegative = 0.25  # weight of the commitment loss
    learning_rate: LearningRate = 1e-3
    batch: Count = 1024
    steps: Count = 2000


class ItemsSettings(Settings):
    """Item representations, their user model, and which items are kept from training."""

    arms: AtLeastOne[ItemArm] = (
        "id", "random_codes", "sid_unigram", "hybrid_sid", "hybrid_naive",
    )  # fmt: skip
    # Also compared, with the first seed only.
    once: Distinct[ItemArm] = (
        "hash", "content", "sid_rqvae", "hybrid_gate", "hybrid_played",
    )  # fmt: skip

    # Compressed arms have levels * codes rows; all but the hash read `levels` rows per item.
    levels: Count = 4  # L
    codes: Annotated[Count, Field(ge=2)] = 64  # K
    # Number of leading axes of the content that is quantized. In hundreds of dimensions, residuals
    # are so spread out that one center near the origin wins almost all of them.
    components: Count = 64
    prefix_codes: Annotated[Count, Field(ge=2)] = 32  # K of the hybrids, with one row per prefix
    rqvae: RQVAESettings = RQVAESettings()
    hidden: Width = 128  # width of networks over content
    modality_drop: BelowOne = 0.2
    pseudo_cold: BelowOne = 0.15  # share of items that a batch treats as new

    held_out: Fraction = 0.15  # share of the items with enough events that is held out
    least_events: Count = 20  # an item with fewer is not held out
    test_share: Fraction = 0.2  # the newest share of each user's events
    warm_targets: Count | None = None  # drawn at random; None: all

    model: UserModelSettings = UserModelSettings()
    loss: AnyLoss = ChunkedSoftmaxSettings()
    epochs: Count = 8
    batch: Count = 64  # windows
    learning_rate: LearningRate = 1e-3
    weight_decay: NonNegative = 0.01
    gradient_clip: Positive = 1.0
    leave_one_out: LeaveOneOutSettings = LeaveOneOutSettings()

    _once = compared_once("arms", "once")
