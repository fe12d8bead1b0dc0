"""Update strategies of recommenders: none, incremental, with old events, from scratch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np

from okml.errors import ParameterError
from okml.seqrec.dropout import Dropout
from okml.video_workshop.stream.periods import TargetWindows, before_period, of_period
from okml.video_workshop.stream.prequential import Strategy
from okml.video_workshop.stream.recommenders import Recommender
from okml.video_workshop.stream.trainer import Effort, Penalty, StreamTrainer


class NoUpdate(Strategy):
    """No update; the histories that a sequence model reads are still current."""

    def update(
        self, trainer: StreamTrainer, recommender: Recommender, period: int
    ) -> tuple[Recommender, Effort]:
        """Return the recommender as it is."""
        return recommender, Effort()


class Incremental(Strategy):
    """Trains a few epochs on the period's events, from the current weights, at a lower rate.

    The moments of the optimizer start at zero in each update.

    Args:
        dropout: Whether dropout stays on. In ADER, an update without it overfits the period.
    """

    def __init__(self, dropout: bool = True) -> None:
        self.dropout = dropout

    def update(
        self, trainer: StreamTrainer, recommender: Recommender, period: int
    ) -> tuple[Recommender, Effort]:
        """Train on the period."""
        settings = trainer.settings
        with nullcontext() if self.dropout else _without_dropout(recommender):
            effort = trainer.train(
                recommender,
                self.slices(trainer, period),
                period,
                epochs=settings.update_epochs,
                rate=settings.update_rate,
                batch=settings.update_batch,
                penalty=self.penalty(trainer, recommender, period),
                known=self.known(period),
            )
        return recommender, effort

    def slices(self, trainer: StreamTrainer, period: int) -> TargetWindows:
        """Return the windows that an update trains on."""
        return of_period(trainer.stream, period, trainer.settings.model.length)

    def known(self, period: int) -> int:
        """Return the newest period whose items are classes of the softmax."""
        return period

    def penalty(
        self, trainer: StreamTrainer, recommender: Recommender, period: int
    ) -> Penalty | None:
        """Return the penalty that is added to the loss, if any."""
        return None


class Replay(Incremental):
    """Adds randomly drawn windows of earlier periods to each update.

    Args:
        ratio: Number of old windows for each new one.
    """

    def __init__(self, ratio: float = 1.0) -> None:
        super().__init__()
        self.ratio = ratio

    def slices(self, trainer: StreamTrainer, period: int) -> TargetWindows:
        """Return the period's windows and the replayed ones."""
        new = super().slices(trainer, period)
        return new.join(_draw_old(trainer, period, round(self.ratio * len(new))))


class Rehearsal(Incremental):
    """A control: as many windows as in an update, all from before the first served period.

    Steps, rate and dropout are those of an update, without any new event or new class of the
    softmax, which would otherwise be pushed down in every period. Its gain is due to more training
    and not to newer data.

    Args:
        first: The first served period.
    """

    def __init__(self, first: int) -> None:
        super().__init__()
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


@contextmanager
def _without_dropout(recommender: Recommender) -> Iterator[None]:
    parts = [part for part in recommender.modules() if isinstance(part, Dropout)]
    before = [part.p for part in parts]
    for part in parts:
        part.p = 0.0
    try:
        yield
    finally:
        for part, p in zip(parts, before, strict=True):
            part.p = p


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
        short: Whether a retraining has about as many steps as an update, as a control. The gain of
            full retraining over it is due to more steps, not to the use of all events (pitfall
            P18).

    Raises:
        ParameterError: If ``every`` is not positive.
    """

    def __init__(self, every: int, first: int, short: bool = False) -> None:
        if every < 1:
            raise ParameterError(f"A model cannot be retrained every {every} periods.")
        self.every = every
        self.first = first
        self.short = short

    def update(
        self, trainer: StreamTrainer, recommender: Recommender, period: int
    ) -> tuple[Recommender, Effort]:
        """Return a new recommender when one is due, else the same."""
        if (period + 1 - self.first) % self.every:
            return recommender, Effort()
        epochs = _epochs_of_an_update(trainer, period) if self.short else None
        return train_base(trainer, period + 1, epochs=epochs)


def _epochs_of_an_update(trainer: StreamTrainer, period: int) -> int:
    """Return the epochs over all windows that have about as many steps as an update."""
    settings, stream = trainer.settings, trainer.stream
    new = len(of_period(stream, period, settings.model.length))
    all_windows = len(before_period(stream, period + 1, settings.model.length))
    steps = settings.update_epochs * math.ceil(new / settings.update_batch)
    return max(1, round(steps / math.ceil(all_windows / settings.batch)))
