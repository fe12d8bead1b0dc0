"""Item tables that represent films without events by their content, alone or with an own row.

They are the tables of the experiment on new items. Quantizers and text weights are fitted on the
items that exist before the first served period, and stay frozen.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import torch

from okml.errors import ParameterError
from okml.video_workshop.content import item_modalities
from okml.video_workshop.items.arms import TableMaker
from okml.video_workshop.items.hybrid import HybridTable
from okml.video_workshop.stream.prequential import Strategy
from okml.video_workshop.stream.recommenders import Recommender, SequenceRecommender
from okml.video_workshop.stream.trainer import Effort, StreamTrainer
from okml.video_workshop.stream.worlds import World
from okml.video_workshop.study import Study
from okml.video_workshop.users.model import UserModel


def table_maker(study: Study, world: World) -> TableMaker:
    """Return a maker of content tables for a stream of the chapter's log.

    Args:
        study: Study with the content of items and the sizes of tables.
        world: Stream, used only up to its first served period.

    Raises:
        DataError: If the content is not available.
    """
    profile = study.profile
    counts = world.stream.counts(world.first - 1)
    modalities = cache(partial(item_modalities, profile.data, study.watched.films, counts > 0))
    model = profile.stream.weekly.training.model
    settings = profile.items.model_copy(update={"model": model})
    return TableMaker(modalities, counts, settings, study.device)


class WithEvidence(Strategy):
    """Wraps a strategy and sets the gate's event counts before each update.

    The recommender served in a period has counted no event of it.

    Args:
        strategy: Wrapped strategy, which updates.
    """

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy

    def welcome(self, trainer: StreamTrainer, recommender: Recommender, period: int) -> None:
        """Prepare by the wrapped strategy."""
        self.strategy.welcome(trainer, recommender, period)

    def update(
        self, trainer: StreamTrainer, recommender: Recommender, period: int
    ) -> tuple[Recommender, Effort]:
        """Count the events of the period, then update."""
        counts = trainer.stream.counts(period).astype(np.float32)
        _hybrid(recommender).evidence.copy_(torch.from_numpy(counts))
        return self.strategy.update(trainer, recommender, period)


def _hybrid(recommender: Recommender) -> HybridTable:
    encoder = recommender.encoder if isinstance(recommender, SequenceRecommender) else None
    if not isinstance(encoder, UserModel) or not isinstance(encoder.table, HybridTable):
        raise ParameterError("Only a user model with a hybrid table weighs the evidence.")
    return encoder.table
