"""The interface of a training task: modules, optimizers, losses and an evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from okml.errors import TrainingError

Losses = Mapping[str, Tensor]


@dataclass(frozen=True)
class Phase:
    """One update inside a step: a loss, and the optimizers that minimize it.

    Attributes:
        loss: A function from a micro-batch to named scalars, each a mean over the examples. The
            one called ``loss`` is minimized; the others are only logged.
        optimizers: Names in the task's ``optimizers``. The parameters of all others are frozen
            while this phase runs, so a generator's loss leaves no gradient in the critic.
        name: Prefix of the logged columns.
    """

    loss: Callable[[Any], Losses]
    optimizers: tuple[str, ...]
    name: str


class TrainingTask(ABC):
    """Modules and optimizers, and the phases that train them.

    The loop owns everything around the losses: backward, accumulation, clipping, optimizer and
    scheduler steps, precision, devices, checkpoints. It may replace an entry of ``modules`` while
    it runs (by its parallel, compiled or averaged version), so code that runs under it looks
    modules up as ``self.modules["actor"]`` and calls them, since a parallel module synchronizes
    gradients only through its ``forward``.

    Args:
        modules: All modules whose weights belong in a checkpoint, target networks included.
        optimizers: The optimizers by name; no two of them share a parameter.
        schedulers: The schedulers by the name of their optimizer, after each of whose steps the
            loop steps them.
        averaged: Names of the modules whose weights are averaged when ``ema_decay`` is set;
            by default those that an optimizer trains.
        identity: JSON values that a checkpoint must share to be continued, e.g. the fingerprint
            of the profile. Shapes and optimizer hyperparameters are compared in any case.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, Optimizer],
        schedulers: Mapping[str, LRScheduler] | None = None,
        averaged: Iterable[str] | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        self.modules = dict(modules)
        self.optimizers = dict(optimizers)
        self.schedulers = dict(schedulers or {})
        self.identity = dict(identity or {})
        self.trained = _trained(self.modules, self.optimizers)
        self.averaged = self.trained if averaged is None else tuple(averaged)
        for name in self.schedulers.keys() - self.optimizers.keys():
            raise TrainingError(f"Scheduler {name!r} has no optimizer of that name.")
        for name in set(self.averaged) - self.modules.keys():
            raise TrainingError(f"No module is called {name!r}, so none can be averaged.")

    @abstractmethod
    def phases(self, step: int) -> Iterable[Phase]:
        """Return the updates of step ``step`` (counted from 1), in order.

        Phases may differ between steps, e.g. an actor update every second step. All of them see
        the same batch.
        """

    @property
    def least_micro_batch(self) -> int:
        """The fewest examples that a loss may get, where a batch is cut into micro-batches.

        A loss that normalizes over examples, or compares each with the others, states it: with
        fewer it would silently become another loss.
        """
        return 1

    def after_step(self, step: int) -> None:  # noqa: B027 - most tasks have nothing to do here
        """Run after the updates of a step, without gradients, e.g. to move a target network."""

    def evaluate(self) -> Mapping[str, float]:
        """Return metrics of the current modules.

        The loop calls it without gradients and with all modules in evaluation mode. With
        ``ema_decay`` it is called again with the averaged modules, whose metrics are ``ema/...``.
        Random numbers it draws do not change the training.
        """
        return {}

    def state(self) -> dict[str, Any]:
        """Return other state that a resumed run needs: tensors, numbers, strings, containers."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the state that :meth:`state` returned; its tensors are on the CPU."""
        if state:
            raise TrainingError(f"{type(self).__name__} saves state and does not load it.")


class SupervisedTask(TrainingTask):
    """The common case: one model, one loss, one optimizer.

    Args:
        model: The module to train.
        loss: ``loss(model, batch)``: a scalar, or named scalars of which ``loss`` is minimized.
        optimizer: An optimizer of the parameters of ``model``.
        scheduler: A learning rate scheduler, stepped once a step.
        evaluate: ``evaluate(model)``: metrics by name.
        identity: JSON values that a checkpoint must share; see :class:`TrainingTask`.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[nn.Module, Any], Tensor | Losses],
        optimizer: Optimizer,
        *,
        scheduler: LRScheduler | None = None,
        evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            {"model": model},
            {"model": optimizer},
            {"model": scheduler} if scheduler is not None else None,
            identity=identity,
        )
        self._loss = loss
        self._evaluate = evaluate

    def phases(self, step: int) -> tuple[Phase]:
        """Return the one phase, ``train``."""
        return (Phase(self._named_loss, ("model",), "train"),)

    def _named_loss(self, batch: Any) -> Losses:
        value = self._loss(self.modules["model"], batch)
        return {"loss": value} if isinstance(value, Tensor) else value

    def evaluate(self) -> Mapping[str, float]:
        """Return the metrics of the model, none without an ``evaluate`` function."""
        return self._evaluate(self.modules["model"]) if self._evaluate else {}


def _trained(
    modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
) -> tuple[str, ...]:
    """Return the names of the modules that hold a parameter of an optimizer.

    Raises:
        TrainingError: If there is no optimizer, if a parameter is in no module (it would not be
            saved) or in two optimizers (it would be moved twice).
    """
    if not optimizers:
        raise TrainingError("The task has no optimizer.")
    owners: dict[int, str] = {}
    for name, optimizer in optimizers.items():
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                other = owners.setdefault(id(parameter), name)
                if other != name:
                    raise TrainingError(f"Optimizers {other!r} and {name!r} share a parameter.")
    held = {name: {id(p) for p in module.parameters()} for name, module in modules.items()}
    lost = owners.keys() - set().union(*held.values())
    for parameter in lost:
        raise TrainingError(
            f"Optimizer {owners[parameter]!r} trains a parameter that is in none of the modules.",
            "Add its module to `modules`, or it would be missing from checkpoints.",
        )
    return tuple(name for name, ids in held.items() if ids & owners.keys())
