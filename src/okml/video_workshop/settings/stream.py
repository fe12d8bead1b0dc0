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
from okml.video_workshop.settings.users import UserModelSettings, UserTable

StrategyName = Literal[
    "stale", "incremental", "replay", "repeat", "rehearsal", "distillation", "distillation_all",
    "retrain",
]  # fmt: skip


class StreamTrainingSettings(Settings):
    """The training and the updates of recommenders, the same for all strategies of a stream."""

    model: UserModelSettings = UserModelSettings(length=50, width=32, layers=2, heads=2)
    # A softmax over existing items. A sampled one draws by a power of popularity, so that items
    # without events are never drawn.
    loss: AnyLoss = ChunkedSoftmaxSettings()
    batch: Count = 64  # windows
    learning_rate: LearningRate = 1e-3
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.98)
    weight_decay: NonNegative = 0.01  # applies to matrices, not to item rows
    gradient_clip: Positive = 1.0
    base_epochs: Count = 12  # epochs of the base model and of every retraining
    update_epochs: Count = 3  # epochs of an update, over the events of one period
    # Windows per step of an update: a period has few, and new items' rows move little per step.
    update_batch: Count = 32


class LaunchSettings(Settings):
    """The simulated launches of items."""

    share: Share = 0.15  # share of the items with enough events that is launched
    least_events: Count = 20
    first: Count = 14  # periods, drawn uniformly from first to last
    last: Count = 26

    _span = rule(lambda launches: launches.first <= launches.last, "{first} to {last} is no span")


class ShockSettings(Settings):
    """The simulated shift of taste."""

    period: Count = 20  # the first one after it
    genres: Count = 2  # the most frequent ones
    kept: BelowOne = 0.2  # share of their events that still happen


class StrategySettings(Settings):
    """The settings of single strategies."""

    retrain_every: Count = 4  # periods
    replay_ratio: Positive = 1.0  # old windows for each new one
    distillation_base: Positive = 0.8  # ADER's lambda_base; YOOCHOOSE 1.0
    exemplars: Count = 1_000  # ADER keeps 30,000 on much larger logs


# Factors of the learning rate in updates, the same for all; of one there is no choice.
UPDATE_RATES = (3.0, 1.0, 0.3, 0.1, 0.03)


class ChoiceSettings(Settings):
    """The choice of the rate of updates, on periods before the first served one.

    A base model of what comes before them passes them with each rate, with the first seed. Each
    strategy and item representation is then served with the rate of its best HR@10. Other intervals
    of updates pass the served periods for it.
    """

    rates: AtLeastOne[Positive] = UPDATE_RATES
    periods: Count = 6
    # Share of the users whose events these periods have. A good rate depends on the size of an
    # update, so it is to be that of a served period, which may have fewer events.
    users: Share = 1.0


class WeeklySettings(Settings):
    """The stream of the chapter's log."""

    training: StreamTrainingSettings = StreamTrainingSettings()
    days: Positive = 7.0  # days of a period
    first: Count = 14  # period that is served first; those before train the base model
    choice: ChoiceSettings = ChoiceSettings()
    rows: Count = 500  # most test requests of a period, without those of launched items
    launches: LaunchSettings = LaunchSettings()
    shock: ShockSettings = ShockSettings()  # the shift of taste in a second run

    arms: AtLeastOne[StrategyName] = (
        "stale", "incremental", "replay", "distillation", "rehearsal", "retrain",
    )  # fmt: skip
    more_arms: Distinct[StrategyName] = ()  # arms that run with the first seed alone
    strategies: StrategySettings = StrategySettings()

    # The stream also trains these tables, beside that of rows of single items.
    tables: Distinct[UserTable] = ("hybrid_content", "hybrid_sid", "hybrid_shuffled")
    shards: Distinct[Positive] = (0.25, 4.0)  # further synchronizations per period, Monolith's N

    _once = compared_once("arms", "more_arms")
    _base = rule(
        lambda weekly: weekly.first <= weekly.launches.first and weekly.first < weekly.shock.period,
        "launches and the shock come after the base model, which is trained before period {first}",
    )
    _choice = rule(
        lambda weekly: weekly.first > weekly.choice.periods > 1,
        "rates are chosen after a first period, and after an update",
    )


SessionLog = Literal["ader_diginetica", "ader_yoochoose"]


class SessionSettings(Settings):
    """ADER's logs of sessions."""

    log: SessionLog
    items: Count | None = None  # the most clicked ones; None: all
    sessions: Count | None = None  # sessions of each period, drawn at random; None: all
    periods: Annotated[Count, Field(ge=2)] = 17  # the first ones
    rows: Count = 1_000_000  # most test clicks of a period
    training: StreamTrainingSettings = StreamTrainingSettings()
    rates: AtLeastOne[Positive] = UPDATE_RATES  # ADER updates at the rate of the base, 1.0
    arms: AtLeastOne[StrategyName] = ("incremental", "distillation", "retrain")
    more_arms: Distinct[StrategyName] = ()  # arms that run with the first seed alone
    strategies: StrategySettings = StrategySettings(retrain_every=1, exemplars=30_000)

    _once = compared_once("arms", "more_arms")


class StreamSettings(Settings):
    """The experiments on streams."""

    weekly: WeeklySettings = WeeklySettings()
    sessions: Annotated[tuple[SessionSettings, ...], different("log")] = ()
