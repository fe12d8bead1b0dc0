"""What is compared on a stream, by name: a recommender and the strategy that keeps it fresh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from okml.video_workshop.content import Features
from okml.video_workshop.items.table import IdTable, ItemTable
from okml.video_workshop.stream.expiring import ExpiringTable
from okml.video_workshop.stream.new_rows import RowInitializer, WithNewRows
from okml.video_workshop.stream.prequential import Strategy
from okml.video_workshop.stream.recommenders import (
    MatrixFactorization,
    Recommender,
    SequenceRecommender,
)
from okml.video_workshop.stream.settings import (
    NewRows,
    StrategyName,
    StrategySettings,
    StreamTrainingSettings,
    WeeklySettings,
)
from okml.video_workshop.stream.strategies import (
    Distillation,
    ElasticWeights,
    Expiry,
    FullRetrain,
    Incremental,
    Rehearsal,
    Replay,
    Stale,
)
from okml.video_workshop.stream.strategies.expiry import events_of
from okml.video_workshop.stream.windows import DAY
from okml.video_workshop.stream.worlds import World
from okml.video_workshop.users.model import UserModel

Model = Literal["user_model", "factorization", "expiring"]

LABELS: dict[StrategyName, str] = {
    "stale": "left alone",
    "incremental": "updated",
    "no_dropout": "updated, no dropout",
    "replay": "updated, with replay",
    "rehearsal": "old events again",
    "distillation": "updated, with distillation",
    "ewc": "updated, elastic weights",
    "retrain": "retrained",
}


@dataclass(frozen=True)
class Arm:
    """One recommender on one stream.

    Attributes:
        strategy: How it is updated.
        model: What it is.
        new_rows: How rows of appearing items start; None: as the table made them.
        shards: Updates a period.
        log: None: the chapter's log; else the number of one of the session logs.
    """

    strategy: StrategyName
    model: Model = "user_model"
    new_rows: NewRows | None = None
    shards: float = 1.0
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
        return " ".join(parts)


def build_recommender(
    model: Model, world: World, training: StreamTrainingSettings, weekly: WeeklySettings
) -> Recommender:
    """Return an untrained recommender.

    A table whose rows expire is told the events before the first served period: who has a row
    during the training of the base model depends on them.
    """
    interactions = world.stream.interactions
    items, width = interactions.item_count, training.model.width
    if model == "factorization":
        return MatrixFactorization(interactions.user_count, items, width)
    table: ItemTable = IdTable(items, width)
    if model == "expiring":
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
        arm: The arm.
        first: The first served period.
        settings: Numbers of the strategies.
        content: Vectors of items, ``[items + 1, c]``, for rows that start from neighbors.
    """
    strategy = _strategy(arm, first, settings)
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
        case "ewc":
            return ElasticWeights(settings.ewc_strength)
        case "retrain":
            return FullRetrain(settings.retrain_every, first)
