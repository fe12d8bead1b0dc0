"""The modules and optimizers of a task on one or many devices, through accelerate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DistributedType,
    InitProcessGroupKwargs,
    broadcast_object_list,
    send_to_device,
)
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.modules.batchnorm import _BatchNorm

from okml.accelerator import pick_device
from okml.errors import ResourceError, TrainingError
from okml.training import sharded
from okml.training.checkpoint import Weights
from okml.training.ema import Average, AverageOfShards
from okml.training.settings import TrainingSettings
from okml.training.task import Losses, Phase, TrainingTask

Step = Sequence[tuple[Any, float]]  # micro-batches and their weights
# How long processes wait for one that evaluates or writes; the default of ten minutes is too short.
PATIENCE = timedelta(hours=6)


class Engine:
    """Runs phases, with parallelism, mixed precision, compilation and gradient accumulation.

    It puts the parallel or compiled modules into ``task.modules``; :meth:`close` restores them.
    """

    def __init__(self, task: TrainingTask, settings: TrainingSettings) -> None:
        self.task = task
        self.settings = settings
        self.accelerator = _accelerator(settings)
        if settings.compile:
            # Cached graphs of earlier networks count towards the recompilation limit.
            torch.compiler.reset()
        self.plain = dict(task.modules)
        if self.accelerator.distributed_type == DistributedType.FSDP:
            raise ResourceError(
                "Accelerate's FSDP shards one module, and a task may have several.",
                "Start without --use_fsdp; a task shards its large modules with fully_shard.",
            )
        if self.processes > 1:
            _require_shared_statistics(task)
        # Modules that the task has sharded with `fully_shard`.
        self.shards = {n for n, m in self.plain.items() if sharded.is_sharded(m)}
        self._own_forward = {name for name, m in self.plain.items() if "forward" in m.__dict__}
        for name, module in self.plain.items():
            if name not in self.shards:
                module.to(self.accelerator.device)
        self.averages = {
            name: (AverageOfShards if name in self.shards else Average)(
                self.plain[name], settings.ema_decay
            )
            for name in task.averaged
            if settings.ema_decay is not None
        }
        self.prepared = [name for name in task.trained if name not in self.shards]
        ready = self.accelerator.prepare(
            *(task.modules[name] for name in self.prepared), *task.optimizers.values()
        )
        ready = ready if isinstance(ready, tuple) else (ready,)
        task.modules.update(zip(self.prepared, ready, strict=False))
        optimizers = ready[len(self.prepared) :]
        self.optimizers = dict(zip(task.optimizers, optimizers, strict=True))

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return int(self.accelerator.process_index)

    @property
    def processes(self) -> int:
        """Number of processes."""
        return int(self.accelerator.num_processes)

    def close(self) -> None:
        """Restore the task's own modules, without the hooks of accelerate."""
        for name in self.prepared:
            wrapped = self.task.modules[name]
            module = self.accelerator.unwrap_model(
                wrapped, keep_fp32_wrapper=False, keep_torch_compile=False
            )
            if name not in self._own_forward:
                module.__dict__.pop("forward", None)
        self.task.modules.update(self.plain)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()  # frees the memory of the gradients
        if self.accelerator.device.type != "cpu":
            # This collects garbage to free device memory; on a CPU the collection can take as
            # long as a short training.
            self.accelerator.free_memory()

    def run_phase(self, phase: Phase, step: Step) -> dict[str, float]:
        """Compute the gradient of a phase; :meth:`update` applies it, once known to be finite.

        Returns:
            Means of the losses over the global batch and the norm of the gradient before
            clipping, by column name, equal on all processes.
        """
        for name in phase.optimizers:
            self.optimizers[name].zero_grad()
        parameters = self._parameters(phase.optimizers)
        totals: dict[str, Tensor] = {}
        with _frozen(self._parameters(self.optimizers.keys() - set(phase.optimizers))):
            for number, (batch, weight) in enumerate(step, 1):
                with self._synchronized(parameters, last=number == len(step)):
                    with self.accelerator.autocast():
                        losses = phase.loss(send_to_device(batch, self.accelerator.device))
                    self.accelerator.backward(_objective(losses, phase) * weight)
                for term, value in losses.items():
                    totals[term] = totals.get(term, 0) + value.detach().float() * weight
        values = torch.stack(list(totals.values()))  # [terms]
        if self.processes > 1:
            values = self.accelerator.reduce(values, "mean")
        # An infinite limit scales by exactly 1, so the norm is computed without clipping as well.
        limit = self.settings.gradient_clip or float("inf")
        norm = self.accelerator.clip_grad_norm_(parameters, limit)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        # The only time in a phase that the host waits for the device.
        measured = torch.cat([values, norm.to(values).reshape(1)]).tolist()
        names = (f"{phase.name}/{term}" for term in (*totals, "gradient_norm"))
        return dict(zip(names, measured, strict=True))

    def update(self, phase: Phase) -> None:
        """Step the optimizers of a phase and their schedulers."""
        for name in phase.optimizers:
            self.optimizers[name].step()
            if name in self.task.schedulers:
                self.task.schedulers[name].step()

    def update_averages(self) -> None:
        """Update the averages with the current weights."""
        for average in self.averages.values():
            average.update()

    def any_process(self, *flags: bool) -> tuple[bool, ...]:
        """Tell of each flag whether it is set on any process."""
        if self.processes == 1:
            return flags
        votes = torch.tensor(flags, dtype=torch.float32, device=self.accelerator.device)
        return tuple(vote > 0 for vote in self.accelerator.reduce(votes, "sum").tolist())

    def from_first(self, value: Any) -> Any:
        """Return the ``value`` of process 0."""
        box = [value]
        if self.processes > 1:
            broadcast_object_list(box)
        return box[0]

    def weights(self) -> Weights:
        """Return copies of all weights on the CPU; averaged ones are called ``ema.<name>``."""
        found = {name: self._weights_of(name, module) for name, module in self.plain.items()}
        for name, average in self.averages.items():
            with average.in_use() as module:
                found[f"ema.{name}"] = self._weights_of(name, module)
        return found

    def _weights_of(self, name: str, module: nn.Module) -> dict[str, Tensor]:
        return sharded.full_weights(module) if name in self.shards else _copied(module)

    def load_weights(self, weights: Weights) -> None:
        """Load the weights that :meth:`weights` returned."""
        for name, module in self.plain.items():
            self._load(name, module, weights[name])
        for name, average in self.averages.items():
            with average.in_use() as module:
                self._load(name, module, weights[f"ema.{name}"])

    def _load(self, name: str, module: nn.Module, weights: dict[str, Tensor]) -> None:
        if name in self.shards:
            sharded.load_full_weights(module, weights)
        else:
            module.load_state_dict(weights)

    def optimizer_states(self) -> dict[str, Any]:
        """Return the states of all optimizers."""
        return {
            name: sharded.full_optimizer_state(self._sharded_root(), optimizer.optimizer)
            if self._over_shards(name)
            else optimizer.state_dict()
            for name, optimizer in self.optimizers.items()
        }

    def load_optimizer_states(self, states: dict[str, Any]) -> None:
        """Load the states that :meth:`optimizer_states` returned."""
        for name, optimizer in self.optimizers.items():
            if self._over_shards(name):
                root = self._sharded_root()
                sharded.load_full_optimizer_state(root, optimizer.optimizer, states[name])
            else:
                optimizer.load_state_dict(states[name])

    def _over_shards(self, optimizer: str) -> bool:
        """Tell whether an optimizer trains sharded weights."""
        parameters = self._parameters([optimizer])
        return any(isinstance(each, DTensor) for each in parameters)

    def _sharded_root(self) -> nn.Module:
        return nn.ModuleDict({name: self.plain[name] for name in sorted(self.shards)})

    def _parameters(self, optimizers: Iterable[str]) -> list[nn.Parameter]:
        return [
            parameter
            for name in optimizers
            for group in self.optimizers[name].param_groups
            for parameter in group["params"]
        ]

    @contextmanager
    def _synchronized(self, parameters: Iterable[nn.Parameter], last: bool) -> Iterator[None]:
        """Average gradients over processes in the last micro-batch, of trained modules only.

        A parallel module whose forward ran without a backward would wait for gradients forever.
        """
        trained = {id(parameter) for parameter in parameters}
        with ExitStack() as stack:
            for name in self.task.trained:
                module = self.task.modules[name]
                if not (last and any(id(p) in trained for p in module.parameters())):
                    stack.enter_context(self.accelerator.no_sync(module))
            yield


def _accelerator(settings: TrainingSettings) -> Accelerator:
    """Return an accelerator for these settings.

    Accelerate keeps the first precision and device for the life of the process; this state is
    reset, since a notebook may train again with others.
    """
    device = pick_device(settings.device)
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision=settings.mixed_precision,
        dynamo_backend="inductor" if settings.compile else "no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )


def _require_shared_statistics(task: TrainingTask) -> None:
    """Refuse batch normalization that sees the examples of one process alone.

    Raises:
        ResourceError: If a trained module has it.
    """
    for name in task.trained:
        for module in task.modules[name].modules():
            if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm):
                raise ResourceError(
                    f"{name!r} has a {type(module).__name__}, whose statistics would be those of "
                    "each process's examples alone.",
                    "Build it with torch.nn.SyncBatchNorm.convert_sync_batchnorm, or train in one "
                    "process.",
                )


@contextmanager
def _frozen(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Disable the gradients of ``parameters``, inside the context."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


def _objective(losses: Losses, phase: Phase) -> Tensor:
    """Return the term to minimize."""
    if "loss" not in losses:
        raise TrainingError(
            f"Phase {phase.name!r} returned {', '.join(losses) or 'nothing'} and no 'loss'."
        )
    for term, value in losses.items():
        if value.ndim != 0:
            raise TrainingError(
                f"{phase.name}/{term} has shape {tuple(value.shape)} and must be a scalar.",
                "Return the mean over the examples of the batch.",
            )
    return losses["loss"]


def _copied(module: nn.Module) -> dict[str, Tensor]:
    """Return the weights as separate CPU tensors; safetensors needs tied ones as copies."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in module.state_dict().items()
    }
