"""The settings of the user model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from okml.seqrec.losses import AnyLoss, SoftmaxSettings
from okml.seqrec.settings import BackboneSettings
from okml.settings import (
    Ascending,
    AtLeastOne,
    BelowOne,
    Count,
    Depth,
    Distinct,
    LearningRate,
    NonNegative,
    Positive,
    Settings,
    Share,
    Text,
    Whole,
    Width,
    heads_divide,
    rule,
)

# The transfer of a pre-trained model; see okml.video_workshop.users.transfer.
Mode = Literal["scratch", "frozen", "lora", "full"]

# lora: low-rank changes of the base. The others change the base. shuffled: pre-trained on the
# actions of other events, with every seed; untrained: random weights; further: predicts the items
# two and three steps ahead as well; single: does not; item_alone: predicts neither actions nor
# genres; intents: predicts both in lower blocks and feeds them forward, with every seed;
# intents_free: its control, which feeds forward outputs without an intent loss, with every seed;
# latest: one window per user; interleaved: two tokens per event. consolidated: the recommenders
# as one model.
Extra = Literal[
    "lora", "shuffled", "untrained", "further", "single", "item_alone", "intents", "intents_free",
    "latest", "interleaved", "consolidated",
]  # fmt: skip


# Item representations of the user model, which okml.video_workshop.items.maker makes.
UserTable = Literal["id", "content", "sid_unigram", "hybrid_sid", "hybrid_content"]


class MultiTaskHeadSettings(Settings):
    """Sizes of multi-task heads; spec 4.6."""

    experts: Count = 4  # of MMoE
    expert_width: Width = 64
    tower_width: Width = 32
    layers: Depth = 2  # of PLE
    own_experts: Count = 1  # of a task, in a layer of PLE
    shared_experts: Count = 1
    gate_dropout: BelowOne = 0.1


class UserModelSettings(Settings):
    """Sizes of a causal transformer over events; spec 4.5."""

    length: Count = 50  # events of a history, T
    width: Width = 64  # d
    layers: Depth = 2
    heads: Depth = 2
    dropout: BelowOne = 0.2
    # fused: one token per event, the sum of item and action; interleaved: item, action, item,
    # action, ... as in HSTU, twice as long
    tokens: Literal["fused", "interleaved"] = "fused"
    actions: bool = True  # whether tokens carry the action; False: the item alone
    requests: bool = True  # whether tokens carry gap and hour of the next request
    # Whether the upper half of the blocks reads the next action and genres that the lower predicts.
    intents: bool = False

    _heads = heads_divide()
    _interleaved = rule(
        lambda model: model.tokens == "fused" or model.actions,
        "interleaved tokens are half actions, so they need actions",
    )
    _intents = rule(
        lambda model: model.layers > 1 or not model.intents,
        "intents are fed from lower blocks to upper ones: two layers at least",
    )

    @property
    def tokens_of_event(self) -> int:
        """Number of tokens of one event."""
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


class LossWeights(Settings):
    """Weights of the auxiliary losses of pre-training; spec 4.5."""

    action: NonNegative = 0.2  # the action on the next item
    multi: NonNegative = 0.3  # the items two and three steps ahead
    genre: NonNegative = 0.1  # the genres of the next item
    # The intents that lower blocks feed forward, times the weights above; 0: only the item loss
    # trains them.
    intents: NonNegative = 1.0


class UserPretrainingSettings(Settings):
    """The pre-training of a user model on all events."""

    steps: Count = 160  # the same for every variant
    batch: Count = 64  # windows per step
    learning_rate: LearningRate = 1e-3
    weight_decay: NonNegative = 0.01  # of matrices; embeddings and norms have none
    warmup_steps: Whole = 0
    gradient_clip: Positive = 1.0
    windows: Literal["latest", "sliding", "mixed"] = "sliding"
    loss: AnyLoss = SoftmaxSettings()
    weights: LossWeights = LossWeights()


class DownstreamSettings(Settings):
    """The training of a recommender on a user model, with one rate and batch size for all modes."""

    # The steps on a pre-trained model; from random weights, those of the pre-training are added.
    steps: Count = 60
    batch: Count = 32  # windows per step
    learning_rate: LearningRate = 1e-3
    head: Literal["shared_bottom", "mmoe", "ple"] = "mmoe"  # of ranking
    heads: MultiTaskHeadSettings = MultiTaskHeadSettings(expert_width=32)
    rank: Count = 8  # of low-rank changes
    alpha: Positive = 16.0  # their scale


class ScalingSettings(Settings):
    """The grid of E7: models times shares of users, all trained on as many windows."""

    # width and layers, ascending
    models: AtLeastOne[tuple[Width, Depth]] = ((16, 1), (24, 1), (32, 2), (48, 2))
    shares: Ascending[Share] = Field(default=(0.25, 0.5, 1.0), min_length=1)  # of the users
    steps: Count = 60  # of each training
    refits: Count = 200  # of the law, on resampled points


class UsersSettings(Settings):
    """Experiments E2 and E7."""

    base: UserModelSettings = UserModelSettings()
    # The smaller model that `base` is compared with; its length is the same.
    smaller: UserModelSettings = UserModelSettings(width=32)
    # Of all models. Those with content need a log whose items have titles or tags.
    table: UserTable = "id"
    pretraining: UserPretrainingSettings = UserPretrainingSettings()
    downstream: DownstreamSettings = DownstreamSettings()
    label_share: Share = 0.1  # of the users whose events are labels in the few-label arms
    modes: AtLeastOne[Mode] = ("scratch", "frozen", "full")
    extras: Distinct[Extra] = ()  # ablations and controls, with the first seed
    # Labels that ranking predicts: a signal of the log, or `liked`, any success.
    ranked: AtLeastOne[Text] = ("liked", "love", "dislike")
    test_rows: Count = 10  # of each user at most, the newest
    scaling: ScalingSettings = ScalingSettings()

    _scratch = rule(
        lambda users: "scratch" in users.modes, "modes need scratch, which others are held to"
    )
    _length = rule(
        lambda users: users.base.length == users.smaller.length,
        "base and smaller need the same length",
    )
    _fused = rule(
        lambda users: users.base.tokens == "fused" and users.base.actions,
        "the base has fused tokens with actions; interleaved is among the extras",
    )
    _deep = rule(
        lambda users: users.base.layers > 1 or not {*users.extras} & {"intents", "intents_free"},
        "intents are fed from lower blocks to upper ones: the base needs two layers",
    )
    _scaled = rule(
        lambda users: all(width % users.base.heads == 0 for width, _ in users.scaling.models),
        "a width of scaling.models is not a multiple of the heads of the base",
    )
