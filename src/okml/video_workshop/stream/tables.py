"""Item tables that know a film before anyone has met it: its content, alone or beside its own row.

They are those of the experiment on new items. Quantizers and the weights of texts are fitted on the
items that exist before the first served period, and are frozen.
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
    """Return what makes tables of content for a stream of the chapter's log.

    Args:
        study: The content of the items, and the sizes of tables.
        world: The stream; what happens from its first served period on is not looked at.

    Raises:
        DataError: If the content cannot be had.
    """
    profile = study.profile
    counts = world.stream.counts(world.first - 1)
    modalities = cache(partial(item_modalities, profile.data, study.watched.films, counts > 0))
    model = profile.stream.weekly.training.model
    settings = profile.items.model_copy(update={"model": model})
    return TableMaker(modalities, counts, settings, study.device)


class WithEvidence(Strategy):
    """Another strategy, before whose updates the gate is told how many events an item has by now.

    What is served in a period has counted nothing of it.

    Args:
        strategy: What updates.
    """

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy

    def welcome(self, trainer: StreamTrainer, recommender: Recommender, period: int) -> None:
        """Prepare as the other strategy does."""
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
