"""Training from scratch on all there is: the base model, and the costly way to stay fresh."""

from __future__ import annotations

import math
from pathlib import Path

from okml.errors import ParameterError
from okml.video_workshop.stream.prequential import Strategy
from okml.video_workshop.stream.recommenders import Recommender
from okml.video_workshop.stream.slices import before_period, of_period
from okml.video_workshop.stream.trainer import Effort, StreamTrainer


def train_base(
    trainer: StreamTrainer, period: int, run_dir: Path | None = None, epochs: int | None = None
) -> tuple[Recommender, Effort]:
    """Train an untrained recommender on everything before ``period``.

    Args:
        trainer: Of the stream.
        period: The first one that is not seen.
        run_dir: Where the training is kept; None: nowhere.
        epochs: Over all of it; None: as the settings say.
    """
    recommender = trainer.fresh()
    slices = before_period(trainer.stream, period, trainer.settings.model.length)
    epochs = epochs or trainer.settings.base_epochs
    effort = trainer.train(recommender, slices, period - 1, epochs=epochs, run_dir=run_dir)
    return recommender, effort


class FullRetrain(Strategy):
    """Start from scratch every so many periods, and leave the model alone in between.

    Args:
        every: Periods between two trainings; 1: after each.
        first: The first served period, from which periods are counted.

    Raises:
        ParameterError: If ``every`` is not positive.
    """

    def __init__(self, every: int, first: int) -> None:
        if every < 1:
            raise ParameterError(f"A model cannot be retrained every {every} periods.")
        self.every = every
        self.first = first

    def update(
        self, trainer: StreamTrainer, recommender: Recommender, period: int
    ) -> tuple[Recommender, Effort]:
        """Return a new recommender when one is due, else the same."""
        if (period + 1 - self.first) % self.every:
            return recommender, Effort()
        return train_base(trainer, period + 1)


class ShortRetrain(FullRetrain):
    """The control: a training from scratch with as many steps as an update has, or nearly.

    What retraining gains over it is due to more steps, not to seeing all there is (pitfall P18).
    """

    def update(
        self, trainer: StreamTrainer, recommender: Recommender, period: int
    ) -> tuple[Recommender, Effort]:
        """Return a new recommender when one is due, else the same."""
        if (period + 1 - self.first) % self.every:
            return recommender, Effort()
        settings, stream = trainer.settings, trainer.stream
        new = len(of_period(stream, period, settings.model.length))
        all_windows = len(before_period(stream, period + 1, settings.model.length))
        steps = settings.update_epochs * math.ceil(new / settings.update_batch)
        epochs = max(1, round(steps / math.ceil(all_windows / settings.batch)))
        return train_base(trainer, period + 1, epochs=epochs)
