"""Training from scratch on all past events: the base model and full retraining."""

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
    """Train a new recommender on all events before ``period``.

    Args:
        trainer: Trainer on the stream.
        period: First period that is not trained on.
        run_dir: Folder of the training; None: nothing is written.
        epochs: Number of epochs; None: the value of the settings.
    """
    recommender = trainer.fresh()
    slices = before_period(trainer.stream, period, trainer.settings.model.length)
    epochs = epochs or trainer.settings.base_epochs
    effort = trainer.train(recommender, slices, period - 1, epochs=epochs, run_dir=run_dir)
    return recommender, effort


class FullRetrain(Strategy):
    """Retrains from scratch every ``every`` periods, without updates in between.

    Args:
        every: Number of periods between two trainings.
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
    """A control: retraining from scratch with about as many steps as an update.

    The gain of full retraining over it is due to more steps, not to the use of all events (pitfall
    P18).
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
