"""The numbers of a run: a file that grows, and a frame when it is over."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl
from torch import nn

from okml.errors import ResourceError, TrainingError
from okml.paths import atomic_write

StopReason = Literal["max_steps", "max_epochs", "max_seconds", "early_stopping"]


@dataclass(frozen=True)
class History:
    """What a finished run leaves.

    Attributes:
        frame: One row for each logged step: ``step``, ``epoch``, ``seconds`` of training so far,
            ``<phase>/<term>``, ``<phase>/gradient_norm`` (before clipping),
            ``<optimizer>/learning_rate`` and evaluation metrics; null where not measured.
        steps: Steps taken.
        stopped_by: Which limit ended the run.
        best_step: Step of the best value of the monitored metric, whose weights the task holds
            now; None without ``monitor``.
        best_value: That value.
        averaged: The averaged modules by name, of the same step; empty without ``ema_decay``.
    """

    frame: pl.DataFrame
    steps: int
    stopped_by: StopReason
    best_step: int | None = None
    best_value: float | None = None
    averaged: dict[str, nn.Module] = field(default_factory=dict)


class MetricsLog:
    """``metrics.jsonl``: one JSON object a row, appended as the run goes.

    Args:
        run_dir: Folder of the run.
        step: Step the run goes on from; later rows, of a run that was killed after its last
            checkpoint, are dropped because those steps are taken again.
        write: Whether this process writes; only one of several does.
        tensorboard: Also write TensorBoard events to ``run_dir/tensorboard``.
    """

    def __init__(self, run_dir: Path, step: int, *, write: bool, tensorboard: bool) -> None:
        self.path = run_dir / "metrics.jsonl"
        self.rows = [row for row in _read(self.path) if row["step"] <= step]
        self._file = None
        self._board: Any = None
        if not write:
            return
        with atomic_write(self.path) as file:
            file.writelines(json.dumps(row) + "\n" for row in self.rows)
        self._file = self.path.open("a", encoding="utf-8")
        if tensorboard:
            self._board = _summary_writer(run_dir / "tensorboard", purge_step=step + 1)

    def append(self, row: Mapping[str, float]) -> None:
        """Add a row; it must have a ``step``."""
        self.rows.append(dict(row))
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        if self._board is not None:
            for name in row.keys() - {"step"}:
                self._board.add_scalar(name, row[name], int(row["step"]))

    def sync(self) -> None:
        """Make sure the rows are on disk before a checkpoint counts on them."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the files."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()

    def frame(self) -> pl.DataFrame:
        """Return all rows, those of earlier runs included."""
        return pl.DataFrame(self.rows, infer_schema_length=None)


def _read(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a log; a last line that a killed process did not finish is left out.

    Raises:
        TrainingError: If the log was changed.
    """
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8")
        rows = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("a line is no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise TrainingError(
            f"{path} is damaged: {error}.", "Remove it: the training goes on without its past rows."
        ) from None
    return rows


def _summary_writer(folder: Path, purge_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ResourceError(
            "The settings ask for TensorBoard and it is not installed.",
            'Install it with `pip install "okml[gpu]"`, or set tensorboard to false.',
        ) from None
    return SummaryWriter(folder, purge_step=purge_step)
