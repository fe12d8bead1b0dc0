"""The traits that a checkpoint and the run that resumes from it must share."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from okml.errors import TrainingError
from okml.training.batches import BatchSource
from okml.training.settings import TrainingSettings
from okml.training.task import TrainingTask


def describe(task: TrainingTask, source: BatchSource, settings: TrainingSettings) -> dict[str, Any]:
    """Return the traits of a run that determine its steps, as JSON values."""
    optimizers = {
        name: {
            "class": type(optimizer).__name__,
            "defaults": {key: str(value) for key, value in optimizer.defaults.items()},
            "learning_rates": [
                # A scheduler has moved `lr` where a task is used for a second call.
                float(group.get("initial_lr", group["lr"]))
                for group in optimizer.param_groups
            ],
        }
        for name, optimizer in task.optimizers.items()
    }
    shapes = {
        name: [(key, list(value.shape)) for key, value in module.state_dict().items()]
        for name, module in task.modules.items()
    }
    return {
        "task": type(task).__name__,
        "identity": task.identity,
        "modules": {
            name: "shapes " + hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]
            for name, value in shapes.items()
        },
        "optimizers": optimizers,
        "schedulers": {name: type(value).__name__ for name, value in task.schedulers.items()},
        "examples": len(source),
        "settings": settings.binding(),
    }


def check_same(saved: dict[str, Any], now: dict[str, Any], path: Path) -> None:
    """Refuse a checkpoint of another run.

    Raises:
        TrainingError: If the descriptions differ; it names each difference.
    """
    current = json.loads(json.dumps(now))
    before, after = _flat(saved), _flat(current)
    differences = [
        f"{key}: {before.get(key, 'absent')} in the checkpoint, {after.get(key, 'absent')} now"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
    if differences:
        raise TrainingError(
            f"The checkpoint {path} is of another run: {'; '.join(differences)}.",
            "Use another run folder, or restore those settings.",
        )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
