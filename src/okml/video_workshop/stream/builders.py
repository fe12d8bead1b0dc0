"""The recommender and the strategy of an arm."""

from __future__ import annotations

import numpy as np

from okml.video_workshop.common.table import IdTable, ItemTable
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.items.maker import TableMaker
from okml.video_workshop.settings.stream import (
    StrategySettings,
    StreamTrainingSettings,
    WeeklySettings,
)
from okml.video_workshop.stream.arms import CONTENT_TABLES, Arm, Model
from okml.video_workshop.stream.distillation import ElasticWeights, ExemplarDistillation
from okml.video_workshop.stream.new_rows import (
    ExpiringTable,
)
from okml.video_workshop.stream.periods import DAY
from okml.video_workshop.stream.prequential import Strategy
from okml.video_workshop.stream.recommenders import (
    MatrixFactorization,
    Recommender,
    SequenceRecommender,
)
from okml.video_workshop.stream.served import ServedStream
from okml.video_workshop.stream.strategies import (
    FullRetrain,
    Incremental,
    NoUpdate,
    Rehearsal,
    Replay,
)


def build_recommender(
    model: Model,
    served: ServedStream,
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
        served: Stream whose users and items are modeled.
        training: Training settings with the sizes of the user model.
        weekly: Settings of the expiring table.
        tables: Maker of content tables.
        seed: Random seed of the quantizers of content tables.
    """
    interactions = served.stream.interactions
    items, width = interactions.item_count, training.model.width
    if model == "factorization":
        return MatrixFactorization(interactions.user_count, items, width)
    table: ItemTable = IdTable(items, width)
    if model in CONTENT_TABLES:
        assert tables is not None
        table = tables.make(model, seed, width=width)
    elif model == "expiring":
        table = ExpiringTable(
            items, width, capacity=items, min_count=weekly.min_count,
            ttl=round(weekly.ttl_days * DAY),
        )  # fmt: skip
        early = served.stream.period < served.first
        interactions = served.stream.interactions
        table.observe(interactions.items[early].astype(np.int64), interactions.times[early])
    return SequenceRecommender(UserModel(table, training.model))


def build_strategy(arm: Arm, first: int, settings: StrategySettings) -> Strategy:
    """Return the strategy of an arm, new for each run.

    Args:
        arm: Arm to build the strategy of.
        first: Number of the first served period.
        settings: Settings of all strategies.
    """
    match arm.strategy:
        case "stale":
            return NoUpdate()
        case "incremental":
            return Incremental()
        case "no_dropout":
            return Incremental(dropout=False)
        case "replay":
            return Replay(settings.replay_ratio)
        case "rehearsal":
            return Rehearsal(first)
        case "distillation":
            return ExemplarDistillation(settings.distillation_base, settings.exemplars, first)
        case "distillation_all":
            return ExemplarDistillation(settings.distillation_base, None, first)
        case "labels_all":
            return ExemplarDistillation(settings.distillation_base, None, first, labels=True)
        case "ewc":
            return ElasticWeights(settings.ewc_strength)
        case "retrain":
            return FullRetrain(settings.retrain_every, first)
        case "retrain_short":
            return FullRetrain(settings.retrain_every, first, short=True)
