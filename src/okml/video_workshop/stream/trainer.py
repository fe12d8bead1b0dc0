"""Training on a part of a stream, for base models, updates and retrainings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from okml.accelerator import setting_for
from okml.runtime import seed_everything
from okml.seqrec.batches import CausalBatch
from okml.seqrec.losses import ItemLoss, build_sampler
from okml.training import TrainingSettings, fit
from okml.video_workshop.common.losses import catalog_loss
from okml.video_workshop.common.training import task_of
from okml.video_workshop.settings.stream import StreamTrainingSettings
from okml.video_workshop.stream.periods import Stream, TargetWindowBatches, TargetWindows
from okml.video_workshop.stream.recommenders import Recommender


@dataclass(frozen=True)
class Effort:
    """The cost of a training.

    Attributes:
        steps: Number of gradient steps.
        samples: Number of targets with a gradient, counted once per epoch.
        seconds: Time of a whole update, with all that it does beside training: seconds of the
            accelerator, or on a CPU those that the process had.
    """

    steps: int = 0
    samples: int = 0
    seconds: float = 0.0

    def __add__(self, other: Effort) -> Effort:
        """Return the sum."""
        return Effort(
            self.steps + other.steps, self.samples + other.samples, self.seconds + other.seconds
        )


class Penalty(ABC):
    """A term that a training adds to the loss of its batches."""

    @abstractmethod
    def __call__(self, recommender: Recommender) -> Tensor:
        """Return the term of one step, a scalar."""

    @property
    def samples(self) -> int:
        """Return the number of targets in the term of a step."""
        return 0


class _PenalizedLoss(nn.Module):
    def __init__(self, recommender: Recommender, loss: ItemLoss, penalty: Penalty | None) -> None:
        super().__init__()
        self.recommender = recommender
        self.loss = loss
        self.penalty = penalty

    def forward(self, batch: CausalBatch) -> Tensor:
        hidden, items = self.recommender.scored(batch, self.loss.scores_all)  # [b, n, d]
        loss = self.loss(hidden, items, batch.targets, batch.negatives, batch.count)
        if self.penalty is not None:
            loss = loss + self.penalty(self.recommender)
        return loss  # type: ignore[no-any-return]


class StreamTrainer:
    """Trains recommenders on slices of a stream with the same settings.

    Args:
        build: Function that returns an untrained recommender.
        seed: Random seed of the initial weights and of the order of batches.
        device: Device of the trainings.
    """

    def __init__(
        self,
        stream: Stream,
        settings: StreamTrainingSettings,
        build: Callable[[], Recommender],
        seed: int,
        device: torch.device,
    ) -> None:
        self.stream = stream
        self.settings = settings
        self.build = build
        self.seed = seed
        self.device = device

    def fresh(self) -> Recommender:
        """Return an untrained recommender, the same at each call."""
        seed_everything(self.seed)
        return self.build().to(self.device)

    def loss(self, period: int) -> ItemLoss:
        """Return a loss over the items that have appeared by the end of ``period``."""
        counts = self.stream.counts(period)
        return catalog_loss(self.settings.loss, counts, counts > 0).to(self.device)

    def source(
        self, recommender: Recommender, slices: TargetWindows, period: int
    ) -> TargetWindowBatches:
        """Return batches of slices for the loss of a period."""
        return TargetWindowBatches(
            self.stream.interactions,
            slices,
            recommender.padding_side,
            self.device,
            build_sampler(self.settings.loss, self.stream.counts(period)),
        )

    def train(
        self,
        recommender: Recommender,
        slices: TargetWindows,
        period: int,
        *,
        epochs: int,
        rate: float = 1.0,
        batch: int | None = None,
        penalty: Penalty | None = None,
        known: int | None = None,
        run_dir: Path | None = None,
    ) -> Effort:
        """Train in place with a new optimizer, so no moments are carried over.

        Args:
            recommender: Recommender to train.
            slices: Windows to train on.
            period: Newest period whose events may be used; it also seeds the order of the windows.
            epochs: Number of epochs over the slices.
            rate: Factor of the learning rate.
            batch: Windows per step; None: the value for base models.
            penalty: Term that is added to the loss.
            known: Newest period whose items are classes of the softmax; None: ``period``.
            run_dir: Folder of the training; None: nothing is written.
        """
        settings, interactions = self.settings, self.stream.interactions
        if not len(slices):
            return Effort()
        known = period if known is None else known
        source = self.source(recommender, slices, known)
        objective = _PenalizedLoss(recommender, self.loss(known), penalty).to(self.device)
        task = task_of(
            objective, settings, identity={"period": period},
            learning_rate=settings.learning_rate * rate, betas=settings.betas,
        )  # fmt: skip
        training = TrainingSettings(
            batch_size=batch or settings.batch,
            max_epochs=epochs,
            seed=self.seed * 1_000 + period,
            gradient_clip=settings.gradient_clip,
            mixed_precision=settings.mixed_precision,
            device=setting_for(self.device),
            keep_checkpoints=1,
        )
        steps = fit(task, source, training, run_dir).steps
        samples = slices.target_count(interactions) * epochs
        extra = penalty.samples * steps if penalty is not None else 0
        return Effort(steps, samples + extra)
