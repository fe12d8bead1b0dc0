"""The trainings of the chapter: causal ones, and the two stages with one target for each row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from okml.kept import distinct
from okml.seqrec.backbone import Backbone
from okml.seqrec.batches import CausalBatches, LastTargetBatches
from okml.seqrec.encoder import Encoder
from okml.seqrec.losses import AnyLoss, ItemLoss, build_loss, build_sampler
from okml.seqrec.models import BERT4Rec, ClozeBatches
from okml.seqrec.popularity import item_counts
from okml.seqrec.tasks import (
    EveryPosition,
    LastTarget,
    Objective,
    OptimizerSettings,
    build_optimizer,
    validation,
    warmup,
)
from okml.strec.arms import Arm
from okml.strec.data import Prepared
from okml.strec.model import Stage, STRec
from okml.strec.settings import Recipe, StrecProfile
from okml.training import History, SupervisedTask, TrainingSettings, fit

MONITOR = "ndcg@10"


E = TypeVar("E", bound=Encoder)


@dataclass
class Trained(Generic[E]):
    """An encoder after its training.

    Attributes:
        encoder: The encoder with the weights of the last step, or of the best validation.
        history: The history of each of its trainings but the warm start.
        targets: The number of predicted targets over all epochs.
        warm_share: The share of its weights that the warm start initialized.
    """

    encoder: E
    history: tuple[History, ...]
    targets: int
    warm_share: float = 0.0

    @property
    def seconds(self) -> float:
        """The seconds of all its trainings."""
        return sum(float(part.frame["seconds"][-1]) for part in self.history)


class Trainer:
    """Trains encoders; each training has a folder, from which a finished one is loaded.

    Args:
        profile: The settings of the run.
        folder: The folder of all trainings.
        device: The device on which batches are built.
    """

    def __init__(self, profile: StrecProfile, folder: Path, device: torch.device) -> None:
        self.profile = profile
        self.folder = folder
        self.device = device

    def warm_start(
        self, data: Prepared, recipe: Recipe, encoder: Backbone, seed: int
    ) -> Trained[Backbone]:
        """Train a causal encoder on windows: a target at every position."""
        settings = self._settings(
            batch_size=recipe.warm_start_batch, max_epochs=recipe.warm_start_epochs, seed=seed
        )
        folder = self._folder(data, recipe.name, "warm start", seed)
        rate = recipe.warm_start_learning_rate
        return self._windows(data, encoder, recipe.loss, rate, settings, folder)

    def causal(self, data: Prepared, name: str, encoder: E, loss: AnyLoss, seed: int) -> Trained[E]:
        """Train a causal SASRec or a reference on windows.

        Args:
            data: The data set.
            name: The name of the encoder.
            encoder: The encoder with its initial weights.
            loss: The settings of the loss.
            seed: The seed of order and dropout.
        """
        causal = self.profile.causal
        settings = self._settings(
            batch_size=causal.batch,
            max_epochs=causal.epochs,
            seed=seed,
            **_stopping(causal.evaluate_every, causal.patience),
        )
        folder = self._folder(data, "causal", name, seed)
        return self._windows(data, encoder, loss, causal.learning_rate, settings, folder)

    def stages(
        self,
        data: Prepared,
        recipe: Recipe,
        arm: Arm,
        encoder: Backbone,
        seed: int,
        relaxed: int,
        hard: int,
    ) -> Trained[Backbone]:
        """Train on rows with one target, in two stages if the arm learns a sample.

        Other arms get the epochs of both stages in one, so that all arms take the same number of
        steps.

        Args:
            data: The data set.
            recipe: The recipe of the training.
            arm: The arm to train.
            encoder: The encoder with its initial weights.
            seed: The seed of order and dropout.
            relaxed: The number of epochs of stage 1.
            hard: The largest number of epochs of stage 2.
        """
        length = arm.length or data.settings.length
        source = LastTargetBatches(data.interactions, data.train, length, device=self.device)
        folder = self._folder(data, recipe.name, distinct(arm.name, arm), seed)
        history = []
        if isinstance(encoder, STRec) and arm.learns_sample:
            if relaxed:
                part = folder / f"relaxed{relaxed}"
                history.append(
                    self._stage(data, recipe, encoder, source, seed, "relaxed", relaxed, part)
                )
            folder = folder / f"after_relaxed{relaxed}"
        else:
            relaxed, hard = 0, relaxed + hard
        if hard:
            part = folder / f"hard{hard}"
            history.append(self._stage(data, recipe, encoder, source, seed, "hard", hard, part))
        steps = sum(part.steps for part in history)
        targets = min(steps * recipe.batch, (relaxed + hard) * len(source))
        return Trained(encoder, tuple(history), targets)

    def _stage(
        self,
        data: Prepared,
        recipe: Recipe,
        encoder: Backbone,
        source: LastTargetBatches,
        seed: int,
        stage: Stage,
        epochs: int,
        folder: Path,
    ) -> History:
        objective = LastTarget(encoder, self._loss(data, recipe.loss))
        if isinstance(encoder, STRec):
            encoder.stage = stage
            # In stage 2 only the indices depend on the scores, so the sampler gets no gradient.
            encoder.sampler.requires_grad_(stage == "relaxed")
        settings = self._settings(
            batch_size=recipe.batch,
            max_epochs=epochs,
            seed=seed,
            **(_stopping(recipe.evaluate_every, recipe.patience) if stage == "hard" else {}),
        )
        optimizer = stage_optimizer(encoder, recipe)
        task = self._task(data, objective, source.length, optimizer, recipe.warmup_steps)
        return fit(task, source, settings, folder)

    def _windows(
        self,
        data: Prepared,
        encoder: E,
        loss: AnyLoss,
        learning_rate: float,
        settings: TrainingSettings,
        folder: Path,
    ) -> Trained[E]:
        source = self._window_source(data, encoder, loss)
        objective = EveryPosition(encoder, self._loss(data, loss))
        optimizer = build_optimizer(objective, OptimizerSettings(learning_rate=learning_rate))
        task = self._task(data, objective, data.settings.length, optimizer)
        history = fit(task, source, settings, folder)
        targets = (data.split.train_end - data.interactions.offsets[:-1] - 1).clip(0).sum()
        epochs = history.steps * settings.batch_size / len(source)
        return Trained(encoder, (history,), round(epochs * int(targets)))

    def _window_source(
        self, data: Prepared, encoder: Encoder, loss: AnyLoss
    ) -> CausalBatches | ClozeBatches:
        length = data.settings.length
        counts = item_counts(data.interactions, data.split.train_end)
        negatives = build_sampler(loss, counts)
        if isinstance(encoder, BERT4Rec):
            windows = data.split.training_windows(data.interactions, length - 1)
            return ClozeBatches(
                data.interactions, windows, encoder.mask, jitter=True, negatives=negatives,
                device=self.device,
            )  # fmt: skip
        windows = data.split.training_windows(data.interactions, length)
        return CausalBatches(
            data.interactions, windows, padding_side=encoder.padding_side, jitter=True,
            negatives=negatives, device=self.device,
        )  # fmt: skip

    def _task(
        self,
        data: Prepared,
        objective: Objective,
        length: int,
        optimizer: torch.optim.Optimizer,
        warmup_steps: int = 0,
    ) -> SupervisedTask:
        rows = LastTargetBatches(
            data.interactions,
            data.valid,
            length,
            padding_side=objective.encoder.padding_side,
            device=self.device,
        )
        return SupervisedTask(
            objective,
            lambda model, batch: model(batch),
            optimizer,
            scheduler=warmup(optimizer, warmup_steps),
            evaluate=validation(rows, batch_size=self.profile.evaluation_batch),
        )

    def _loss(self, data: Prepared, loss: AnyLoss) -> ItemLoss:
        return build_loss(loss, item_counts(data.interactions, data.split.train_end))

    def _settings(self, **values: Any) -> TrainingSettings:
        profile = self.profile
        return TrainingSettings(
            device=profile.device,
            mixed_precision=profile.mixed_precision,
            compile=profile.compile,
            keep_checkpoints=1,
            **values,
        )

    def _folder(self, data: Prepared, recipe: str, name: str, seed: int) -> Path:
        parts = (data.name, recipe, name, f"seed {seed}")
        return self.folder.joinpath(*(re.sub(r"[^\w-]+", "_", part) for part in parts))


def _stopping(every: int | None, patience: int | None) -> Mapping[str, Any]:
    """Return the settings of early stopping; none without evaluations during the training."""
    if every is None:
        return {}
    return {"evaluate_every": every, "monitor": MONITOR, "patience": patience}


def stage_optimizer(encoder: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return Adam with a separate learning rate for the sampler."""
    sampler: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            (sampler if name.startswith("sampler.") else others).append(parameter)
    groups: list[dict[str, Any]] = [{"params": others, "lr": recipe.learning_rate}]
    if sampler:
        groups.append({"params": sampler, "lr": recipe.sampler_learning_rate})
    return torch.optim.Adam(groups, fused=True)
