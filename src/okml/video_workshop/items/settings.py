"""The settings of the experiment on new items, E1 of the spec."""

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
from okml.video_workshop.items.quantization import RQVAESettings
from okml.video_workshop.users.settings import UserModelSettings

ItemArm = Literal[
    "id",  # a row an item
    "hash",  # a row that others have too
    "multihash",  # the sum of several such rows
    "qr",  # quotient times remainder
    "random_codes",  # a code tuple that means nothing: the control of sid_unigram
    "sid_unigram",  # a row a code of each level
    "sid_bigram",  # a row a pair of codes
    "sid_prefix",  # a row a prefix, folded into as many rows as the others have
    "sid_spm",  # a row a sub-word of the code tuple, learned from what is watched
    "sid_rqvae",  # sid_unigram with codes of an RQ-VAE
    "sid_pretrained",  # sid_unigram with codes of pre-trained vectors
    "content",  # a network over content, no rows
    "content_pretrained",  # the same over pre-trained vectors
    "hybrid_sid",  # own row and all prefixes, mixed by evidence
    "hybrid_content",  # own row and content, mixed by evidence
    # What makes hybrid_sid: its gate alone, the items played new alone, and neither.
    "hybrid_gate",
    "hybrid_played",
    "hybrid_naive",
]


# What an item is to the user model that is asked for everybody's last item: a row, frozen vectors
# behind a network, the sum of both, or the sum with vectors that mean nothing, its control.
LastItemArm = Literal["id", "both", "content", "noise"]


class CoEngagementSettings(Settings):
    """Pre-training of the network over content, on items that are watched close together."""

    width: Width = 128  # of the vectors
    window: Count = 3  # events from one item of a pair to the other, at most
    temperature: Positive = 0.07
    reconstruction: NonNegative = 0.1  # weight of each modality
    steps: Count = 400
    batch: Count = Field(default=256, ge=2)  # pairs; the others of a batch are a pair's negatives
    learning_rate: LearningRate = 1e-3
    weight_decay: NonNegative = 0.01


class LeaveOneOutSettings(Settings):
    """SASRec under the protocol of MicroLens's table; the defaults are those of its scripts."""

    arms: AtLeastOne[LastItemArm] = ("id", "both", "noise", "content")
    once: Distinct[LastItemArm] = ()  # also compared, with the first seed only
    features: Distinct[Modality] = ()  # released vectors that are read; empty: all that E1 reads
    model: UserModelSettings = UserModelSettings(
        length=10, width=1024, layers=2, heads=2, dropout=0.1, actions=False, requests=False
    )
    loss: AnyLoss = InBatchSoftmaxSettings()
    epochs: Count = 50  # at most
    patience: Count = 6  # epochs without a new best HR@10 of validation
    batch: Count = 512  # windows, one a user
    learning_rate: LearningRate = 1e-4
    weight_decay: NonNegative = 0.1
    gradient_clip: Positive = 5.0

    _once = compared_once("arms", "once")


class ItemsSettings(Settings):
    """Item representations, their user model, and which items are kept from training."""

    arms: AtLeastOne[ItemArm] = (
        "id", "random_codes", "sid_unigram", "hybrid_sid", "hybrid_naive",
    )  # fmt: skip
    # Also compared, with the first seed only.
    once: Distinct[ItemArm] = (
        *("hash", "content", "sid_spm", "sid_rqvae", "sid_pretrained"),
        *("hybrid_gate", "hybrid_played"),
    )

    # Compressed arms have levels * codes rows; all but a plain hash read `levels` of them an item.
    levels: Count = 4  # L
    codes: Count = Field(default=64, ge=2)  # K
    # Rows a level of other budgets, for the curve of hit rate over rows, with the first seed only.
    budget_codes: Distinct[Annotated[Count, Field(ge=2)]] = (16, 256)
    # Leading axes of the content that codes are made of. In hundreds of dimensions what a level
    # leaves is so spread out that one center near the origin wins almost all of it.
    components: Count = 64
    prefix_codes: Count = Field(default=32, ge=2)  # K of the hybrids, which have a row a prefix
    rqvae: RQVAESettings = RQVAESettings()
    hidden: Width = 128  # of networks over content
    modality_drop: BelowOne = 0.2
    pretraining: CoEngagementSettings = CoEngagementSettings()  # where an arm asks for it
    pseudo_cold: BelowOne = 0.15  # of the items, played new by each batch

    held_out: Fraction = 0.15  # of the items that have enough events
    least_events: Count = 20  # of an item that may be held out
    test_share: Fraction = 0.2  # of each user's events, the newest
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
