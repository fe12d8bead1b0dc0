"""The events of a training in the log of its run."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from okml import runlog
from okml.accelerator import peak_bytes
from okml.runtime import GIB
from okml.training.settings import TrainingSettings

EVERY_S = 30.0  # between two progress events; evaluations and checkpoints have their own
KEY = re.compile(r"[0-9a-f]{12}")  # the key in the name of a trainings folder


class TrainingEvents:
    """Logs the events of one training if it belongs to a run.

    Args:
        folder: The folder of the training.
        settings: The settings of the training.
        device: The device of the training.
        epoch_steps: Number of steps in an epoch.
        limit: The last step; infinity if only time or early stopping ends the training.
        write: Whether this process logs; True in the first one only.
    """

    def __init__(
        self,
        folder: Path,
        settings: TrainingSettings,
        device: torch.device,
        epoch_steps: int,
        limit: float,
        *,
        write: bool,
    ) -> None:
        place = runlog.place()
        self._on = write and place is not None
        self._settings, self._device, self._epoch_steps = settings, device, epoch_steps
        self._limit = None if math.isinf(limit) else int(limit)
        self._arm = arm_of(folder, settings.seed, place.folder) if place else ""
        self._said = time.monotonic()

    def started(self, step: int) -> None:
        """Log that the training starts, or resumes from a checkpoint."""
        self._event("training started", step, 0.0, device=str(self._device))

    def went_on(self, step: int, row: Mapping[str, float], seconds: float, evaluated: bool) -> None:
        """Log the values of a step if it was evaluated, or the last event is ``EVERY_S`` ago."""
        if not evaluated and time.monotonic() - self._said < EVERY_S:
            return
        monitor = self._settings.monitor
        measured = {monitor: row[monitor]} if monitor is not None and monitor in row else {}
        loss = next((value for name, value in row.items() if name.endswith("/loss")), None)
        peak = peak_bytes(self._device)
        self._event(
            "epoch" if evaluated else "progress",
            step,
            seconds,
            loss=loss,
            device_memory_gib=None if peak is None else peak / GIB,
            **measured,
        )

    def saved(self, step: int, seconds: float) -> None:
        """Log that a checkpoint was written."""
        self._event("checkpoint", step, seconds)

    def ended(self, step: int, seconds: float, reason: str | None) -> None:
        """Log that the training finished for a reason, or was stopped by a signal (None)."""
        name: runlog.Name = "training stopped" if reason is None else "training finished"
        self._event(name, step, seconds, reason=reason)

    def _event(self, name: runlog.Name, step: int, seconds: float, **details: Any) -> None:
        if self._on:
            self._said = time.monotonic()
            runlog.event(
                name,
                arm=self._arm,
                seed=self._settings.seed,
                epoch=step / self._epoch_steps,
                training_step=step,
                training_steps=self._limit or 0,
                seconds=seconds,
                **details,
            )


def arm_of(folder: Path, seed: int, run_dir: Path) -> str:
    """Return the name of a training in its run: the path of its folder, without the seed."""
    parts = folder.relative_to(run_dir).parts if folder.is_relative_to(run_dir) else folder.parts
    if parts[0] == "training":
        parts = parts[2:] if len(parts) > 2 and KEY.search(parts[1]) else parts[1:]
    name = "/".join(parts)
    return re.sub(rf"[/ _-]?(?:seed ?{seed}\b|(?<=[/ _-]){seed}$)", "", name).strip("/ ") or name
