"""The settings of the user model."""

from __future__ import annotations

from typing import Literal

from okml.seqrec.losses import AnyLoss, SoftmaxSettings
from okml.seqrec.settings import BackboneSettings
from okml.settings import (
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

# A recommender's weights: scratch, random and all trained; frozen, those of the base, which stay;
# full, those of the base, all trained further.
Mode = Literal["scratch", "frozen", "full"]

# Changes of the base. shuffled: pre-trained on the actions of other events; item_alone: predicts
# neither actions nor genres; intents: predicts both in lower blocks and feeds them forward;
# intents_free: its control, which feeds forward outputs without an intent loss; content,
# semantic_ids: item vectors of a gated own row and of content, or of a Semantic ID; content_sum:
# plain sums of own row and content; rows: of own rows alone.
Ablation = Literal[
    "shuffled", "item_alone", "intents", "intents_free", "content", "content_sum", "semantic_ids",
    "rows",
]  # fmt: skip

# Item representations of the user model, which okml.video_workshop.items.maker makes.
UserTable = Literal[
    "id", "content", "sid_unigram", "hybrid_sid", "hybrid_content", "content_sum", "hybrid_shuffled"
]


class MultiTaskHeadSettings(Settings):
    """Sizes of multi-task heads, MMoE and a shared bottom of as many units."""

    experts: Count = 4
    expert_width: Width = 64
    tower_width: Width = 32
    gate_dropout: BelowOne = 0.1


class UserModelSettings(Settings):
    """Sizes of a causal transformer over events."""

    length: Count = 50  # events of a history, T
    width: Width = 64  # d
    layers: Depth = 2
    heads: Depth = 2
    dropout: BelowOne = 0.2
    actions: bool = True  # whether tokens carry the action; False: the item alone
    requests: bool = True  # whether tokens carry gap and hour of the next request
    # Whether the upper half of the blocks reads the next action and genres that the lower predicts.
    intents: bool = False

    _heads = heads_divide()
    _intents = rule(
        lambda model: model.layers > 1 or not model.intents,
        "intents are fed from lower blocks to upper ones: two layers at least",
    )

    @property
    def backbone(self) -> BackboneSettings:
        """The blocks: pre-norm, causal, a feed-forward network of four times the width."""
        return BackboneSettings(
            length=self.length,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            hidden=4 * self.width,
            dropout=self.dropout,
        )


class LossWeights(Settings):
    """Weights of the auxiliary losses of pre-training."""

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
    weight_decay: NonNegative = 0.01  # applies to matrices; embeddings and norms have none
    warmup_steps: Whole = 0
    gradient_clip: Positive = 1.0
    loss: AnyLoss = SoftmaxSettings()
    weights: LossWeights = LossWeights()


class DownstreamSettings(Settings):
    """The training of a recommender on a user model, with one rate and batch size for all modes.

    It ends once validation has had no new best for long, with the weights of the best one.
    """

    # The most steps on a pre-trained model, with the labels of a part of the users and of all; from
    # random weights, those of the pre-training are added. Without steps, none has all labels.
    steps: Count = 60
    steps_all_labels: Whole = 60
    evaluate_every: Count = 20  # steps between validations
    patience: Count = 5  # validations without a new best
    batch: Count = 32  # windows per step
    learning_rate: LearningRate = 1e-3
    heads: MultiTaskHeadSettings = MultiTaskHeadSettings(expert_width=32)  # MMoE, of ranking


class UsersSettings(Settings):
    """The experiments on one user model under several recommenders."""

    base: UserModelSettings = UserModelSettings()
    # The smaller model that `base` is compared with; its length is the same.
    smaller: UserModelSettings = UserModelSettings(width=32)
    # The item representation of all models. One that reads content needs a log whose items have
    # titles or tags.
    table: UserTable = "id"
    pretraining: UserPretrainingSettings = UserPretrainingSettings()
    downstream: DownstreamSettings = DownstreamSettings()
    label_share: Share = 0.1  # share of users whose events are labels in the few-label arms
    ablations: Distinct[Ablation] = ()
    # Labels that ranking predicts: a signal of the log, or `liked`, any success.
    ranked: AtLeastOne[Text] = ("liked", "love", "dislike")
    test_rows: Count = 10  # the largest number of each user's rows, the newest
    # The largest number of each user's rows, the newest before the cut. No training has them as
    # targets, and recommenders are validated on those of the users whose labels they have.
    valid_rows: Count = 5
    valid_users: Count = 500  # the largest number of users whose rows a validation takes

    _length = rule(
        lambda users: users.base.length == users.smaller.length,
        "base and smaller need the same length",
    )
    _actions = rule(lambda users: users.base.actions, "the tokens of the base carry actions")
    _deep = rule(
        lambda users: users.base.layers > 1 or not {*users.ablations} & {"intents", "intents_free"},
        "intents are fed from lower blocks to upper ones: the base needs two layers",
    )
