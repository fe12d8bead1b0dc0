"""The training of every network of the chapter: one optimizer, one loop, one set of options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from okml.seqrec.batches import CausalBatch
from okml.seqrec.losses import ItemLoss
from okml.seqrec.tasks import Evaluation, OptimizerSettings, build_optimizer, warmup
from okml.training import BatchSource, History, SupervisedTask, TrainingSettings, TrainingTask, fit
from okml.training.task import Losses
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.settings import VideoWorkshopProfile

Loss = Callable[[nn.Module, Any], Tensor | Losses]
BETAS = (0.9, 0.98)  # AdamW's for transformers
AT_A_TIME = 512  # examples of a batch outside of training


def batches_of(source: BatchSource, size: int = AT_A_TIME) -> Iterator[Any]:
    """Yield all examples of a source in order, some at a time."""
    rng = np.random.default_rng(0)  # draws negatives, which are not used
    for start in range(0, len(source), size):
        yield source.batch(np.arange(start, min(start + size, len(source))), rng)


class NextItem(nn.Module):
    """The loss of a user model over the next items of a batch's windows.

    Args:
        model: User model, trained without the context of events.
        loss: Loss over the catalog.
        penalty: Function that returns a term of each step, a scalar; None: there is none.
    """

    def __init__(
        self, model: UserModel, loss: ItemLoss, penalty: Callable[[UserModel], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.penalty = penalty

    def forward(self, batch: CausalBatch) -> Tensor:
        """Return the mean loss over the targets of a batch, with the penalty."""
        tokens, scored = self.model.read(
            batch.items, batch.targets, batch.negatives, scores_all=self.loss.scores_all
        )
        hidden = self.model(batch.items, vectors=tokens)  # [b, n, d]
        loss = self.loss(hidden, scored, batch.targets, batch.negatives, batch.count)
        return loss if self.penalty is None else loss + self.penalty(self.model)  # type: ignore[no-any-return]


class Rates(Protocol):
    """Settings of a training."""

    @property
    def learning_rate(self) -> float: ...  # noqa: D102

    @property
    def weight_decay(self) -> float: ...  # noqa: D102


def task_of(
    module: nn.Module,
    rates: Rates,
    loss: Loss = lambda module, batch: module(batch),
    evaluate: Evaluation | None = None,
    identity: Mapping[str, Any] | None = None,
    **others: Any,
) -> SupervisedTask:
    """Return the task that trains a module with AdamW.

    Args:
        module: Module to train.
        rates: Settings with the learning rate and the weight decay.
        loss: Function from the module and a batch to its losses; by default the module's output.
        evaluate: Function from the module to the metrics of validation.
        identity: JSON values that a checkpoint must share.
        others: Fields of :class:`~okml.seqrec.tasks.OptimizerSettings` with other values.
    """
    given = {"learning_rate": rates.learning_rate, "weight_decay": rates.weight_decay, **others}
    settings = OptimizerSettings(**given)
    optimizer = build_optimizer(module, settings)
    scheduler = warmup(optimizer, settings.warmup_steps)
    return SupervisedTask(
        module, loss, optimizer, scheduler=scheduler, evaluate=evaluate, identity=identity
    )


def train(
    profile: VideoWorkshopProfile,
    task: TrainingTask,
    source: BatchSource,
    folder: Path | None,
    *,
    batch: int,
    seed: int,
    steps: int | None = None,
    epochs: int | None = None,
    gradient_clip: float = 1.0,
    monitor: str | None = None,
    evaluate_every: int | None = None,
    patience: int | None = None,
    compiled: bool = True,
) -> History:
    """Train for some steps or epochs, or load the training that the folder holds.

    A training that monitors a metric is evaluated as it goes, and ends with its best weights.

    Args:
        profile: Profile with the device and the precision.
        task: Modules, losses and optimizers of the training.
        source: Batches of training examples.
        folder: Folder of the training; None: nothing is written.
        batch: Number of examples per step.
        seed: Random seed of the order of examples.
        steps: Largest number of gradient steps; None: no limit.
        epochs: Largest number of epochs; None: no limit.
        gradient_clip: Largest norm of the gradients.
        monitor: Metric that chooses the best weights; None: the last weights are used.
        evaluate_every: Steps from one evaluation to the next, if a metric is monitored; None: those
            of an epoch.
        patience: Evaluations without a new best after which training ends; None: no limit.
        compiled: Whether to compile where the profile does; a short training does not repay it.
    """
    settings = TrainingSettings(
        batch_size=batch,
        max_steps=steps,
        max_epochs=epochs,
        seed=seed,
        gradient_clip=gradient_clip,
        keep_checkpoints=1,
        evaluate_every=None if monitor is None else evaluate_every or 1,
        evaluate_unit="epoch" if evaluate_every is None else "step",
        monitor=monitor,
        patience=patience,
        device=profile.device,
        mixed_precision=profile.mixed_precision,
        compile=compiled and profile.compile,
    )
    return fit(task, source, settings, folder)
