"""Exponential moving averages of weights, and looking at a task through them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from okml.training.task import TrainingTask


def averaged_model(module: nn.Module, decay: float) -> AveragedModel:
    """Return an average of ``module`` that is fed with ``update_parameters``.

    The decay of update i (from 0) is ``min(decay, (1 + i) / (10 + i))``: without this warm-up the
    average of a short run would mostly remember the initial weights. Buffers are copied.
    """

    def update(averages: Any, weights: Any, updates: Tensor | int) -> None:
        count = int(updates)
        current = min(decay, (1 + count) / (10 + count))
        get_ema_multi_avg_fn(current)(averages, weights, count)  # type: ignore[no-untyped-call]

    average = AveragedModel(module, multi_avg_fn=update)
    return average.requires_grad_(False)


@contextmanager
def in_place_of(task: TrainingTask, modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Let ``task.modules`` hold ``modules`` for the names they have."""
    before = dict(task.modules)
    task.modules.update(modules)
    try:
        yield
    finally:
        task.modules.update(before)


@contextmanager
def evaluating(task: TrainingTask) -> Iterator[None]:
    """Put all modules into evaluation mode and switch gradients off."""
    modes = {module: module.training for root in task.modules.values() for module in root.modules()}
    for root in task.modules.values():
        root.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training
