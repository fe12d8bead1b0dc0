"""Updates of a model whose item rows expire."""

from __future__ import annotations

import numpy as np

from okml.errors import ParameterError
from okml.seqrec.interactions import Ints
from okml.video_workshop.stream.expiring import ExpiringTable
from okml.video_workshop.stream.recommenders import Recommender, SequenceRecommender
from okml.video_workshop.stream.strategies.incremental import Incremental
from okml.video_workshop.stream.trainer import Effort, StreamTrainer
from okml.video_workshop.stream.windows import Stream
from okml.video_workshop.users.model import UserModel


class Expiry(Incremental):
    """Evicts expired rows before a period, and admits frequent items after it.

    Each update has its own optimizer, so no state of an evicted row remains.
    """

    def welcome(self, trainer: StreamTrainer, recommender: Recommender, period: int) -> None:
        """Evict the items whose time to live had passed when the period began."""
        stream = trainer.stream
        past = stream.interactions.times[stream.period < period]
        _table(recommender).evict(int(past.max()))

    def update(
        self, trainer: StreamTrainer, recommender: Recommender, period: int
    ) -> tuple[Recommender, Effort]:
        """Admit items, then train."""
        _table(recommender).observe(*events_of(trainer.stream, period, period + 1))
        return super().update(trainer, recommender, period)

    def rows_alive(self, recommender: Recommender) -> int:
        """Return the number of items with a row of their own."""
        return len(_table(recommender).alive)


def events_of(stream: Stream, start: int, stop: int) -> tuple[Ints, Ints]:
    """Return the items and the times of all events of the periods ``start`` to ``stop - 1``."""
    here = (stream.period >= start) & (stream.period < stop)
    return stream.interactions.items[here].astype(np.int64), stream.interactions.times[here]


def _table(recommender: Recommender) -> ExpiringTable:
    encoder = recommender.encoder if isinstance(recommender, SequenceRecommender) else None
    if not isinstance(encoder, UserModel) or not isinstance(encoder.table, ExpiringTable):
        raise ParameterError("Only a user model with an expiring table has rows that expire.")
    return encoder.table
