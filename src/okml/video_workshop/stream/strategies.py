"""Update strategies of user models: none, incremental, with old events, from scratch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from okml.errors import ParameterError
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.stream.periods import TargetWindows, before_period, of_period
from okml.video_workshop.stream.prequential import Strategy
from okml.video_workshop.stream.trainer import Effort, Penalty, StreamTrainer


class NoUpdate(Strategy):
    """No update; the histories that a sequence model reads are still current."""

    def update(
        self, trainer: StreamTrainer, model: UserModel, period: int
    ) -> tuple[UserModel, Effort]:
        """Return the model as it is."""
        return model, Effort()


class Incremental(Strategy):
    """Trains a few epochs on the period's events, from the current weights, at a lower rate.

    The moments of the optimizer start at zero in each update.
    """

    def update(
        self, trainer: StreamTrainer, model: UserModel, period: int
    ) -> tuple[UserModel, Effort]:
        """Train on the period."""
        settings = trainer.settings
        effort = trainer.train(
            model,
            self.slices(trainer, period),
            period,
            epochs=settings.update_epochs,
            rate=trainer.update_rate,
            batch=settings.update_batch,
            penalty=self.penalty(trainer, model, period),
            known=self.known(period),
        )
        return model, effort

    def slices(self, trainer: StreamTrainer, period: int) -> TargetWindows:
        """Return the windows that an update trains on."""
        return of_period(trainer.stream, period, trainer.settings.model.length)

    def known(self, period: int) -> int:
        """Return the newest period whose items are classes of the softmax."""
        return period

    def penalty(self, trainer: StreamTrainer, model: UserModel, period: int) -> Penalty | None:
        """Return the penalty that is added to the loss, if any."""
        return None


class Replay(Incremental):
    """Adds randomly drawn windows of earlier periods to each update.

    Args:
        ratio: Number of old windows for each new one.
    """

    def __init__(self, ratio: float = 1.0) -> None:
        self.ratio = ratio

    def slices(self, trainer: StreamTrainer, period: int) -> TargetWindows:
        """Return the period's windows and the replayed ones."""
        new = super().slices(trainer, period)
        return new.join(_draw_old(trainer, period, round(self.ratio * len(new))))


class Repeat(Incremental):
    """A control of :class:`Replay`: as many windows, all of them new.

    Args:
        ratio: Number of repeated windows for each new one.
    """

    def __init__(self, ratio: float = 1.0) -> None:
        self.ratio = ratio

    def slices(self, trainer: StreamTrainer, period: int) -> TargetWindows:
        """Return the period's windows, over and over."""
        new = super().slices(trainer, period)
        return new.join(new.take(np.resize(np.arange(len(new)), round(self.ratio * len(new)))))


class Rehearsal(Incremental):
    """A control: as many windows as in an update, all from before the first served period.

    Steps, rate and dropout are those of an update, without any new event or new class of the
    softmax, which would otherwise be pushed down in every period. Its gain is due to more training
    and not to newer data.

    Args:
        first: The first served period.
    """

    def __init__(self, first: int) -> None:
        self.first = first

    def slices(self, trainer: StreamTrainer, period: int) -> TargetWindows:
        """Return windows of the base's periods."""
        new = super().slices(trainer, period)
        return _draw_old(trainer, self.first, len(new), draw=period)

    def known(self, period: int) -> int:
        """Return the last of the base's periods."""
        return self.first - 1


def _draw_old(
    trainer: StreamTrainer, period: int, amount: int, draw: int | None = None
) -> TargetWindows:
    """Draw windows of events before ``period``, without replacement if there are enough."""
    old = before_period(trainer.stream, period, trainer.settings.model.length)
    rng = np.random.default_rng([trainer.seed, period if draw is None else draw])
    return old.take(rng.choice(len(old), amount, replace=amount > len(old)))


def train_base(
    trainer: StreamTrainer, period: int, run_dir: Path | None = None
) -> tuple[UserModel, Effort]:
    """Train a new model on all events before ``period``.

    Args:
        trainer: Trainer on the stream.
        period: First period that is not trained on.
        run_dir: Folder of the training; None: nothing is written.
    """
    model, settings = trainer.fresh(), trainer.settings
    slices = before_period(trainer.stream, period, settings.model.length)
    epochs = settings.base_epochs
    return model, trainer.train(model, slices, period - 1, epochs=epochs, run_dir=run_dir)


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
        self, trainer: StreamTrainer, model: UserModel, period: int
    ) -> tuple[UserModel, Effort]:
        """Return a new model when one is due, else the same."""
        if (period + 1 - self.first) % self.every:
            return model, Effort()
        return train_base(trainer, period + 1)
