"""The settings of the user model."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from okml.seqrec.losses import AnyLoss, SoftmaxSettings
from okml.seqrec.settings import BackboneSettings
from okml.video_workshop.rankers.settings import HeadSettings

# How a pre-trained model is taken over; see okml.video_workshop.users.transfer.
Mode = Literal["scratch", "frozen", "lora", "full"]
# lora: low-rank changes of the base. The others change the base: shuffled: pre-trained on the
# actions of other events; untrained: random weights; further: predicts the items two and three
# steps ahead as well; single: does not; item_alone: predicts neither actions nor genres; intents:
# predicts them below and feeds them forward, with every seed; intents_free: feeds forward what
# nobody asks to be an intent, its control; latest: one window a user; interleaved: two tokens an
# event. consolidated: the three recommenders as one model.
Extra = Literal[
    "lora", "shuffled", "untrained", "further", "single", "item_alone", "intents", "intents_free",
    "latest", "interleaved", "consolidated",
]  # fmt: skip


class UserModelSettings(BaseModel):
    """Sizes of a causal transformer over events; spec 4.5."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length: PositiveInt = 50  # events of a history, T
    width: PositiveInt = 64  # d
    layers: PositiveInt = 2
    heads: PositiveInt = 2
    dropout: float = Field(default=0.2, ge=0, lt=1)
    # fused: one token an event, item and action added up; interleaved: item, action, item, action,
    # ... as in HSTU, twice as long
    tokens: Literal["fused", "interleaved"] = "fused"
    actions: bool = True  # whether tokens tell what the user did; False: the item alone
    requests: bool = True  # whether tokens tell gap and hour of the request they are followed by
    # Whether the upper half of the blocks reads the next action and genres that the lower predicts.
    intents: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tokens == "interleaved" and not self.actions:
            raise ValueError("interleaved tokens are half actions, so they need actions")
        if self.intents and self.layers < 2:
            raise ValueError("intents are fed from lower blocks to upper ones: two layers at least")
        return self

    @property
    def tokens_of_event(self) -> int:
        """Tokens that one event becomes."""
        return 2 if self.tokens == "interleaved" else 1

    @property
    def backbone(self) -> BackboneSettings:
        """The blocks: pre-norm, causal, a feed-forward network of four times the width."""
        return BackboneSettings(
            length=self.length * self.tokens_of_event,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            hidden=4 * self.width,
            dropout=self.dropout,
        )


class LossWeights(BaseModel):
    """What pre-training predicts besides the next item, and how much that counts; spec 4.5."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: float = Field(default=0.2, ge=0)  # what is done with the next item
    multi: float = Field(default=0.3, ge=0)  # the items two and three steps ahead
    genre: float = Field(default=0.1, ge=0)  # the genres of the next item
    # What the lower blocks predict of both if they feed it forward, times the weights above; 0: it
    # is what serves the item best.
    intents: float = Field(default=1.0, ge=0)


class PretrainingSettings(BaseModel):
    """How a user model is trained on all events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: PositiveInt = 160  # of every variant, so that none trains longer than another
    batch: PositiveInt = 64  # windows a step
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)  # of matrices; embeddings and norms have none
    warmup_steps: int = Field(default=0, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0)
    windows: Literal["latest", "sliding", "mixed"] = "sliding"
    loss: AnyLoss = SoftmaxSettings()
    weights: LossWeights = LossWeights()


class DownstreamSettings(BaseModel):
    """How a recommender is trained on a user model; all modes take the same rate and batches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: PositiveInt = 60  # from a pre-trained model
    scratch_factor: PositiveInt = 4  # from random weights, training takes this many times the steps
    batch: PositiveInt = 32  # windows a step
    learning_rate: float = Field(default=1e-3, gt=0)
    head: Literal["shared_bottom", "mmoe", "ple"] = "mmoe"  # of ranking
    heads: HeadSettings = HeadSettings(expert_width=32)
    rank: PositiveInt = 8  # of low-rank changes
    alpha: float = Field(default=16.0, gt=0)  # their scale


class ScalingSettings(BaseModel):
    """The grid of E7: models times shares of users, all trained on as many windows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # width and layers, ascending
    models: tuple[tuple[PositiveInt, PositiveInt], ...] = ((16, 1), (24, 1), (32, 2), (48, 2))
    shares: tuple[float, ...] = (0.25, 0.5, 1.0)  # of the users, ascending
    steps: PositiveInt = 60  # of each training
    refits: PositiveInt = 200  # of the law, on resampled points


class UsersSettings(BaseModel):
    """Experiments E2 and E7."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: UserModelSettings = UserModelSettings()
    # What `base` is an improvement of; its length is the same.
    smaller: UserModelSettings = UserModelSettings(width=32)
    pretraining: PretrainingSettings = PretrainingSettings()
    downstream: DownstreamSettings = DownstreamSettings()
    label_share: float = Field(default=0.1, gt=0, le=1)  # of users whose events are labels
    modes: tuple[Mode, ...] = ("scratch", "frozen", "full")
    all_labels: bool = True  # whether the first seed also trains on the labels of all users
    extras: tuple[Extra, ...] = ()  # ablations and controls, with the first seed
    # What ranking predicts: a signal of the log, or `liked`, any success.
    ranked: tuple[str, ...] = ("liked", "love", "dislike")
    test_rows: PositiveInt = 10  # of each user at most, the newest
    scaling: ScalingSettings = ScalingSettings()
