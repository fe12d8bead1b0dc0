"""Exponential moving averages of weights, and contexts to evaluate a task with them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from okml.training import sharded
from okml.training.task import TrainingTask


class Average:
    """An exponential moving average of the weights of a module, in a copy of it.

    The decay of update i (from 0) is ``min(decay, (1 + i) / (10 + i))``: without this warm-up the
    initial weights would dominate the average of a short run. Buffers are copied.

    Args:
        of: The module whose weights are averaged.
        decay: The largest decay.
    """

    def __init__(self, of: nn.Module, decay: float) -> None:
        self.of = of
        self.decay = decay
        self.updates = 0
        self.module = self._copied()

    def _copied(self) -> nn.Module:
        return copy.deepcopy(self.of).requires_grad_(False)

    def _pairs(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the averages and the weights."""
        return list(self.module.parameters()), [p.detach() for p in self.of.parameters()]

    @torch.no_grad()
    def update(self) -> None:
        """Move the averages towards the current weights; the first update copies these."""
        averages, weights = self._pairs()
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.updates else 0.0
        torch._foreach_lerp_(averages, weights, 1 - decay)
        for kept, current in zip(self.module.buffers(), self.of.buffers(), strict=True):
            kept.copy_(current)
        self.updates += 1

    @contextmanager
    def in_use(self) -> Iterator[nn.Module]:
        """Yield a module that has the averaged weights inside the context."""
        yield self.module


class AverageOfShards(Average):
    """The average of a module that FSDP has sharded: each process averages its own shards.

    Such a module cannot be copied, so the averages take the place of its weights while in use.
    """

    def __init__(self, of: nn.Module, decay: float) -> None:
        super().__init__(of, decay)
        self._averages = [shard.clone() for shard in sharded.shards(of)]

    def _copied(self) -> nn.Module:
        return self.of

    def _pairs(self) -> tuple[list[Tensor], list[Tensor]]:
        return self._averages, sharded.shards(self.of)

    @contextmanager
    def in_use(self) -> Iterator[nn.Module]:
        """Yield the module with the averaged weights, which it has inside the context."""
        self._swap()
        try:
            yield self.of
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for average, shard in zip(*self._pairs(), strict=True):
            weight = shard.clone()
            shard.copy_(average)
            average.copy_(weight)


@contextmanager
def in_place_of(task: TrainingTask, modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Replace the entries of ``task.modules`` that ``modules`` names, inside the context."""
    before = dict(task.modules)
    task.modules.update(modules)
    try:
        yield
    finally:
        task.modules.update(before)


@contextmanager
def evaluating(task: TrainingTask) -> Iterator[None]:
    """Set all modules to evaluation mode and disable gradients, inside the context."""
    modes = {module: module.training for root in task.modules.values() for module in root.modules()}
    for root in task.modules.values():
        root.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training
