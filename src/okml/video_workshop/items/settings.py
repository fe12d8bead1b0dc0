"""The settings of the experiment on new items, E1 of the spec."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from okml.seqrec.losses import AnyLoss, ChunkedSoftmaxSettings, InBatchSoftmaxSettings
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
# behind a network, or the sum of both.
LastItemArm = Literal["id", "both", "content"]


class CoEngagementSettings(BaseModel):
    """Pre-training of the network over content, on items that are watched close together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: PositiveInt = 128  # of the vectors
    window: PositiveInt = 3  # events from one item of a pair to the other, at most
    temperature: float = Field(default=0.07, gt=0)
    reconstruction: float = Field(default=0.1, ge=0)  # weight of each modality
    steps: PositiveInt = 400
    batch: int = Field(default=256, ge=2)  # pairs; the others of a batch are a pair's negatives
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)


class LeaveOneOutSettings(BaseModel):
    """SASRec under the protocol of MicroLens's table; the defaults are those of its scripts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    arms: tuple[LastItemArm, ...] = ("id", "both", "content")
    once: tuple[LastItemArm, ...] = ()  # also compared, with the first seed only
    features: tuple[str, ...] = ()  # released vectors that are read; empty: all that E1 reads
    model: UserModelSettings = UserModelSettings(
        length=10, width=1024, layers=2, heads=2, dropout=0.1, actions=False, requests=False
    )
    loss: AnyLoss = InBatchSoftmaxSettings()
    epochs: PositiveInt = 50  # at most
    patience: PositiveInt = 6  # epochs without a new best HR@10 of validation
    batch: PositiveInt = 512  # windows, one a user
    learning_rate: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    gradient_clip: float = Field(default=5.0, gt=0)


class ItemsSettings(BaseModel):
    """Item representations, their user model, and which items are kept from training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    arms: tuple[ItemArm, ...] = ("id", "random_codes", "sid_unigram", "hybrid_sid")
    # Also compared, with the first seed only.
    once: tuple[ItemArm, ...] = (
        *("hash", "content", "sid_spm", "sid_rqvae", "sid_pretrained"),
        *("hybrid_gate", "hybrid_played", "hybrid_naive"),
    )

    # Compressed arms have levels * codes rows; all but a plain hash read `levels` of them an item.
    levels: PositiveInt = 4  # L
    codes: int = Field(default=64, ge=2)  # K
    # Rows a level of other budgets, for the curve of hit rate over rows, with the first seed only.
    budget_codes: tuple[int, ...] = (16, 256)
    # Principal components of the content that codes are made of. In hundreds of dimensions what a
    # level leaves is so spread out that one center near the origin wins almost all of it.
    components: PositiveInt = 64
    prefix_codes: int = Field(default=32, ge=2)  # K of the hybrids, which have a row a prefix
    rqvae: RQVAESettings = RQVAESettings()
    hidden: PositiveInt = 128  # of networks over content
    modality_drop: float = Field(default=0.2, ge=0, lt=1)
    pretraining: CoEngagementSettings = CoEngagementSettings()  # where an arm asks for it
    pseudo_cold: float = Field(default=0.15, ge=0, lt=1)  # of the items, played new by each batch

    held_out: float = Field(default=0.15, gt=0, lt=1)  # of the items that have enough events
    least_events: PositiveInt = 20  # of an item that may be held out
    test_share: float = Field(default=0.2, gt=0, lt=1)  # of each user's events, the newest
    warm_targets: int | None = Field(default=None, ge=1)  # drawn at random; None: all

    model: UserModelSettings = UserModelSettings()
    loss: AnyLoss = ChunkedSoftmaxSettings()
    epochs: PositiveInt = 8
    batch: PositiveInt = 64  # windows
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0)
    leave_one_out: LeaveOneOutSettings = LeaveOneOutSettings()
