"""The arms of the stream experiments: a recommender and the strategy that updates it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

from okml.video_workshop.common.content import Features
from okml.video_workshop.common.table import IdTable, ItemTable
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.items.arms import TableMaker
from okml.video_workshop.settings.stream import (
    ContentTableName,
    NewRows,
    StrategyName,
    StrategySettings,
    StreamTrainingSettings,
    WeeklySettings,
)
from okml.video_workshop.stream.distillation import Distillation, ElasticWeights
from okml.video_workshop.stream.new_rows import (
    ExpiringTable,
    Expiry,
    RowInitializer,
    WithEvidence,
    WithNewRows,
    events_of,
)
from okml.video_workshop.stream.periods import DAY
from okml.video_workshop.stream.prequential import Strategy
from okml.video_workshop.stream.recommenders import (
    MatrixFactorization,
    Recommender,
    SequenceRecommender,
)
from okml.video_workshop.stream.strategies import (
    FullRetrain,
    Incremental,
    Rehearsal,
    Replay,
    ShortRetrain,
    Stale,
)
from okml.video_workshop.stream.worlds import World

Model = Literal["user_model", "factorization", "expiring", ContentTableName]
CONTENT_TABLES: tuple[ContentTableName, ...] = get_args(ContentTableName)

LABELS: dict[StrategyName, str] = {
    "stale": "left alone",
    "incremental": "updated",
    "no_dropout": "updated, no dropout",
    "replay": "updated, with replay",
    "rehearsal": "old events again",
    "distillation": "updated, with distillation",
    "distillation_all": "updated, distillation on all past",
    "labels_all": "updated, labels of all past",
    "ewc": "updated, elastic weights",
    "retrain": "retrained",
    "retrain_short": "retrained, steps of an update",
}


@dataclass(frozen=True)
class Arm:
    """The configuration of one recommender on one stream.

    Attributes:
        strategy: Name of the update strategy.
        model: Name of the recommender.
        new_rows: Initialization of the rows of appearing items; None: the one of the table.
        shards: Updates per period.
        batch: Windows per step of an update; None: the value of the settings.
        shock: Whether the stream has the simulated shift of taste.
        log: Number of a session log; None: the chapter's log.
    """

    strategy: StrategyName
    model: Model = "user_model"
    new_rows: NewRows | None = None
    shards: float = 1.0
    batch: int | None = None
    shock: bool = False
    log: int | None = None

    @property
    def name(self) -> str:
        """Unique among the arms of a log."""
        parts: list[str] = [self.strategy]
        if self.model != "user_model":
            parts.append(self.model)
        if self.new_rows is not None:
            parts.append(self.new_rows)
        if self.shards != 1:
            parts.append(f"{self.shards:g} a period")
        if self.batch is not None:
            parts.append(f"{self.batch} a step")
        if self.shock:
            parts.append("shock")
        return " ".join(parts)


def build_recommender(
    model: Model,
    world: World,
    training: StreamTrainingSettings,
    weekly: WeeklySettings,
    tables: TableMaker | None = None,
    seed: int = 0,
) -> Recommender:
    """Return an untrained recommender.

    A table with expiring rows counts the events before the first served period, which determine
    the items that have a row while the base model is trained.

    Args:
        model: Name of the recommender.
        world: Stream whose users and items are modeled.
        training: Training settings with the sizes of the user model.
        weekly: Settings of the expiring table.
        tables: Maker of content tables.
        seed: Random seed of the quantizers of content tables.
    """
    interactions = world.stream.interactions
    items, width = interactions.item_count, training.model.width
    if model == "factorization":
        return MatrixFactorization(interactions.user_count, items, width)
    table: ItemTable = IdTable(items, width)
    if model in CONTENT_TABLES:
        assert tables is not None
        table = tables.make(model, seed)
    elif model == "expiring":
        table = ExpiringTable(
            items, width, capacity=items, min_count=weekly.min_count,
            ttl=round(weekly.ttl_days * DAY),
        )  # fmt: skip
        table.observe(*events_of(world.stream, 0, world.first))
    return SequenceRecommender(UserModel(table, training.model))


def build_strategy(
    arm: Arm, first: int, settings: StrategySettings, content: Features | None
) -> Strategy:
    """Return the strategy of an arm, new for each run.

    Args:
        arm: Arm to build the strategy of.
        first: Number of the first served period.
        settings: Settings of all strategies.
        content: Content vectors of items, ``[items + 1, c]``, for rows initialized from neighbors.
    """
    strategy = _strategy(arm, first, settings)
    if arm.model in ("hybrid_sid", "hybrid_content"):
        strategy = WithEvidence(strategy)
    if arm.new_rows is None:
        return strategy
    vectors = None if content is None else torch.from_numpy(np.asarray(content))
    return WithNewRows(strategy, RowInitializer(arm.new_rows, vectors))


def _strategy(arm: Arm, first: int, settings: StrategySettings) -> Strategy:
    if arm.model == "expiring":
        return Expiry()
    match arm.strategy:
        case "stale":
            return Stale()
        case "incremental":
            return Incremental()
        case "no_dropout":
            return Incremental(dropout=False)
        case "replay":
            return Replay(settings.replay_ratio)
        case "rehearsal":
            return Rehearsal(first)
        case "distillation":
            return Distillation(settings.distillation_base, settings.exemplars, first)
        case "distillation_all":
            return Distillation(settings.distillation_base, None, first)
        case "labels_all":
            return Distillation(settings.distillation_base, None, first, labels=True)
        case "ewc":
            return ElasticWeights(settings.ewc_strength)
        case "retrain":
            return FullRetrain(settings.retrain_every, first)
        case "retrain_short":
            return ShortRetrain(settings.retrain_every, first)
