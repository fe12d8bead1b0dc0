"""The settings of the experiments on streams."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from okml.seqrec.losses import AnyLoss, ChunkedSoftmaxSettings
from okml.video_workshop.users.settings import UserModelSettings

StrategyName = Literal[
    "stale", "incremental", "no_dropout", "replay", "rehearsal", "distillation",
    "distillation_all", "labels_all", "ewc", "retrain", "retrain_short",
]  # fmt: skip


NewRows = Literal["random", "mean_noise", "content_knn"]
# Representations of the experiment on new items that know an item without an event.
ContentTableName = Literal["content", "sid_unigram", "hybrid_sid", "hybrid_content"]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StreamTrainingSettings(_Settings):
    """How recommenders are trained and updated; all strategies of a stream share it."""

    model: UserModelSettings = UserModelSettings(length=50, width=32, layers=2, heads=2)
    # Over the items that exist. A sampled one draws by a power of popularity, so that items without
    # an event are never drawn.
    loss: AnyLoss = ChunkedSoftmaxSettings()
    batch: PositiveInt = 64  # windows
    learning_rate: float = Field(default=1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = Field(default=0.01, ge=0)  # of matrices, not of item rows
    gradient_clip: float = Field(default=1.0, gt=0)
    mixed_precision: Literal["no", "bf16"] = "no"

    base_epochs: PositiveInt = 12  # of the base model and of every retraining
    update_epochs: PositiveInt = 3  # of an update, over the events of one period
    # Windows a step of an update: a period has few, and rows of new items move a little a step.
    update_batch: PositiveInt = 32
    update_rate: float = Field(default=0.5, gt=0)  # factor of the learning rate in updates


class LaunchSettings(_Settings):
    """The simulated launches of items; spec E6."""

    share: float = Field(default=0.15, gt=0, le=1)  # of the items with enough events
    least_events: PositiveInt = 20
    first: PositiveInt = 14  # periods, drawn uniformly from first to last
    last: PositiveInt = 26


class ShockSettings(_Settings):
    """The simulated shift of taste; spec E6."""

    period: PositiveInt = 20  # the first one after it
    genres: PositiveInt = 2  # the most frequent ones
    kept: float = Field(default=0.2, ge=0, lt=1)  # share of their events that still happen


class StrategySettings(_Settings):
    """The numbers of single strategies."""

    retrain_every: PositiveInt = 4  # periods
    replay_ratio: float = Field(default=1.0, gt=0)  # old windows for each new one
    distillation_base: float = Field(default=0.8, gt=0)  # ADER's lambda_base; YOOCHOOSE 1.0
    exemplars: PositiveInt = 1_000  # ADER keeps 30,000 of logs many times as large
    ewc_strength: float = Field(default=1e4, gt=0)


class WeeklySettings(_Settings):
    """The stream of the chapter's log."""

    training: StreamTrainingSettings = StreamTrainingSettings()
    days: float = Field(default=7.0, gt=0)  # of a period
    first: PositiveInt = 14  # period that is served first; those before train the base model
    rows: PositiveInt = 500  # most requests of a period that are judged, besides the launched items
    launches: LaunchSettings = LaunchSettings()
    shock: ShockSettings | None = ShockSettings()  # of a second run; None: there is none

    arms: tuple[StrategyName, ...] = (
        "stale", "incremental", "replay", "distillation", "rehearsal", "retrain",
    )  # fmt: skip
    more_arms: tuple[StrategyName, ...] = ("ewc", "no_dropout")  # with the first seed alone
    strategies: StrategySettings = StrategySettings()

    factorization_rate: float = Field(default=10.0, gt=0)  # factor; a user's row has few updates
    new_rows: tuple[NewRows, ...] = ("mean_noise", "content_knn")
    tables: tuple[ContentTableName, ...] = ("hybrid_content", "hybrid_sid")
    # Windows a step of updates in smaller steps, of plain rows and of the first table; None: none.
    small_batch: PositiveInt | None = 8
    ttl_days: float = Field(default=28.0, gt=0)  # of the expiring table
    min_count: PositiveInt = 2
    shards: tuple[float, ...] = (0.25, 4.0)  # synchronizations a period (Monolith's N), besides 1


SessionLog = Literal["ader_diginetica", "ader_yoochoose"]


class SessionSettings(_Settings):
    """ADER's logs of sessions."""

    log: SessionLog
    items: PositiveInt | None = None  # the most clicked ones; None: all
    sessions: PositiveInt | None = None  # of each period, drawn at random; None: all
    periods: PositiveInt = 17  # the first ones
    rows: PositiveInt = 1_000_000  # most clicks of a period that are judged
    training: StreamTrainingSettings = StreamTrainingSettings()
    arms: tuple[StrategyName, ...] = (
        "no_dropout", "incremental", "replay", "distillation", "retrain",
    )  # fmt: skip
    strategies: StrategySettings = StrategySettings(retrain_every=1, exemplars=30_000)


class StreamSettings(_Settings):
    """The experiments on streams."""

    weekly: WeeklySettings = WeeklySettings()
    sessions: tuple[SessionSettings, ...] = ()
