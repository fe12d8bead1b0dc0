"""Exponential moving averages of weights, and contexts to evaluate a task with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from okml.training.task import TrainingTask


def averaged_model(module: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average of ``module``, updated by ``update_parameters``.

    The decay of update i (from 0) is ``min(decay, (1 + i) / (10 + i))``: without this warm-up the
    initial weights would dominate the average of a short run. Buffers are copied.
    """

    def update(averages: Any, weights: Any, updates: Tensor | int) -> None:
        count = int(updates)
        current = min(decay, (1 + count) / (10 + count))
        get_ema_multi_avg_fn(current)(averages, weights, count)  # type: ignore[no-untyped-call]

    average = AveragedModel(module, multi_avg_fn=update)
    return average.requires_grad_(False)


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
