"""The settings of the experiments on streams."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from okml.seqrec.losses import AnyLoss, ChunkedSoftmaxSettings
from okml.settings import (
    AtLeastOne,
    BelowOne,
    Count,
    Distinct,
    LearningRate,
    NonNegative,
    Positive,
    Settings,
    Share,
    compared_once,
    different,
    rule,
)
from okml.video_workshop.settings.users import UserModelSettings

StrategyName = Literal[
    "stale", "incremental", "no_dropout", "replay", "rehearsal", "distillation",
    "distillation_all", "labels_all", "ewc", "retrain", "retrain_short",
]  # fmt: skip


NewRows = Literal["random", "mean_noise", "content_knn"]

# Representations of the experiment on new items that also represent items without events.
ContentTableName = Literal["content", "sid_unigram", "hybrid_sid", "hybrid_content"]


class StreamTrainingSettings(Settings):
    """The training and the updates of recommenders, the same for all strategies of a stream."""

    model: UserModelSettings = UserModelSettings(length=50, width=32, layers=2, heads=2)
    # A softmax over existing items. A sampled one draws by a power of popularity, so that items
    # without events are never drawn.
    loss: AnyLoss = ChunkedSoftmaxSettings()
    batch: Count = 64  # windows
    learning_rate: LearningRate = 1e-3
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.98)
    weight_decay: NonNegative = 0.01  # of matrices, not of item rows
    gradient_clip: Positive = 1.0
    mixed_precision: Literal["no", "bf16"] = "no"

    base_epochs: Count = 12  # of the base model and of every retraining
    update_epochs: Count = 3  # of an update, over the events of one period
    # Windows per step of an update: a period has few, and new items' rows move little per step.
    update_batch: Count = 32
    update_rate: Positive = 0.5  # factor of the learning rate in updates


class LaunchSettings(Settings):
    """The simulated launches of items; spec E6."""

    share: Share = 0.15  # of the items with enough events
    least_events: Count = 20
    first: Count = 14  # periods, drawn uniformly from first to last
    last: Count = 26

    _span = rule(lambda launches: launches.first <= launches.last, "{first} to {last} is no span")


class ShockSettings(Settings):
    """The simulated shift of taste; spec E6."""

    period: Count = 20  # the first one after it
    genres: Count = 2  # the most frequent ones
    kept: BelowOne = 0.2  # share of their events that still happen


class StrategySettings(Settings):
    """The settings of single strategies."""

    retrain_every: Count = 4  # periods
    replay_ratio: Positive = 1.0  # old windows for each new one
    distillation_base: Positive = 0.8  # ADER's lambda_base; YOOCHOOSE 1.0
    exemplars: Count = 1_000  # ADER keeps 30,000 on much larger logs
    ewc_strength: Positive = 1e4


class WeeklySettings(Settings):
    """The stream of the chapter's log."""

    training: StreamTrainingSettings = StreamTrainingSettings()
    days: Positive = 7.0  # of a period
    first: Count = 14  # period that is served first; those before train the base model
    rows: Count = 500  # most test requests of a period, without those of launched items
    launches: LaunchSettings = LaunchSettings()
    shock: ShockSettings | None = ShockSettings()  # of a second run; None: there is none

    arms: AtLeastOne[StrategyName] = (
        "stale", "incremental", "replay", "distillation", "rehearsal", "retrain",
    )  # fmt: skip
    more_arms: Distinct[StrategyName] = ("ewc", "no_dropout")  # with the first seed alone
    strategies: StrategySettings = StrategySettings()

    factorization_rate: Positive = 10.0  # factor; a user's row has few updates
    new_rows: Distinct[NewRows] = ("mean_noise", "content_knn")
    tables: Distinct[ContentTableName] = ("hybrid_content", "hybrid_sid")
    # Windows per step in the arms with smaller batches, of plain rows and of the first content
    # table; None: no such arms.
    small_batch: Count | None = 8
    ttl_days: Positive = 28.0  # of the expiring table
    min_count: Count = 2
    shards: Distinct[Positive] = (0.25, 4.0)  # further synchronizations per period, Monolith's N

    _once = compared_once("arms", "more_arms")
    _base = rule(
        lambda weekly: (
            weekly.first <= weekly.launches.first
            and (weekly.shock is None or weekly.first < weekly.shock.period)
        ),
        "launches and the shock come after the base model, which is trained before period {first}",
    )


SessionLog = Literal["ader_diginetica", "ader_yoochoose"]


class SessionSettings(Settings):
    """ADER's logs of sessions."""

    log: SessionLog
    items: Count | None = None  # the most clicked ones; None: all
    sessions: Count | None = None  # of each period, drawn at random; None: all
    periods: Annotated[Count, Field(ge=2)] = 17  # the first ones
    rows: Count = 1_000_000  # most test clicks of a period
    training: StreamTrainingSettings = StreamTrainingSettings()
    arms: AtLeastOne[StrategyName] = (
        "no_dropout", "incremental", "replay", "distillation", "retrain",
    )  # fmt: skip
    strategies: StrategySettings = StrategySettings(retrain_every=1, exemplars=30_000)


class StreamSettings(Settings):
    """The experiments on streams."""

    weekly: WeeklySettings = WeeklySettings()
    sessions: Annotated[tuple[SessionSettings, ...], different("log")] = ()
