"""Training on a part of a stream, for base models, updates and retrainings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from okml.runtime import seed_everything
from okml.seqrec.losses import ItemLoss, build_sampler
from okml.video_workshop.common.losses import catalog_loss
from okml.video_workshop.common.training import NextItem, task_of, train
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.stream import StreamTrainingSettings
from okml.video_workshop.stream.periods import Stream, TargetWindowBatches, TargetWindows


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


class Penalty(Protocol):
    """A term that a training adds to the loss of its batches.

    It is made before the training, so it can copy the weights of that time.
    """

    @property
    def samples(self) -> int:
        """Number of targets in the term of a step, part of its cost; 0 for a term on weights."""

    def __call__(self, model: UserModel) -> Tensor:
        """Return the term of one step of the model that is trained, a scalar."""


class StreamTrainer:
    """Trains user models on slices of a stream with the same settings.

    Args:
        profile: Profile with the device and the precision.
        stream: Stream that is trained on.
        settings: Settings of all trainings.
        build: Function that returns an untrained model.
        seed: Random seed of the initial weights and of the order of batches.
        device: Device of the trainings.
        update_rate: Factor of the learning rate in updates.
    """

    def __init__(
        self,
        profile: VideoWorkshopProfile,
        stream: Stream,
        settings: StreamTrainingSettings,
        build: Callable[[], UserModel],
        seed: int,
        device: torch.device,
        update_rate: float = 1.0,
    ) -> None:
        self.profile = profile
        self.stream = stream
        self.settings = settings
        self.build = build
        self.seed = seed
        self.device = device
        self.update_rate = update_rate

    def fresh(self) -> UserModel:
        """Return an untrained model, the same at each call."""
        seed_everything(self.seed)
        return self.build().to(self.device)

    def loss(self, period: int) -> ItemLoss:
        """Return a loss over the items that have appeared by the end of ``period``."""
        counts = self.stream.counts(period)
        return catalog_loss(self.settings.loss, counts, counts > 0).to(self.device)

    def train(
        self,
        model: UserModel,
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
            model: Model to train.
            slices: Windows to train on.
            period: Newest period whose events may be used; it also seeds the order of the windows.
            epochs: Number of epochs over the slices.
            rate: Factor of the learning rate.
            batch: Windows per step; None: the value for base models.
            penalty: Term that is added to the loss.
            known: Newest period whose items are classes of the softmax; None: ``period``.
            run_dir: Folder of the training; None: nothing is written.
        """
        if not len(slices):
            return Effort()
        settings, interactions = self.settings, self.stream.interactions
        known = period if known is None else known
        negatives = build_sampler(settings.loss, self.stream.counts(known))
        source = TargetWindowBatches(interactions, slices, self.device, negatives)
        objective = NextItem(model, self.loss(known), penalty).to(self.device)
        task = task_of(
            objective, settings, identity={"period": period},
            learning_rate=settings.learning_rate * rate, betas=settings.betas,
        )  # fmt: skip
        steps = train(
            self.profile, task, source, run_dir, batch=batch or settings.batch, epochs=epochs,
            seed=self.seed * 1_000 + period, gradient_clip=settings.gradient_clip, compiled=False,
        ).steps  # fmt: skip
        extra = penalty.samples * steps if penalty is not None else 0
        return Effort(steps, slices.target_count(interactions) * epochs + extra)
