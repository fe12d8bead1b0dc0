"""The logged values of a training: a file during the run, and a frame at its end."""

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
    """The result of a finished training.

    Attributes:
        frame: One row for each logged step: ``step``, ``epoch``, ``seconds`` of training so far,
            ``<phase>/<term>``, ``<phase>/gradient_norm`` (before clipping),
            ``<optimizer>/learning_rate`` and evaluation metrics; null where not measured.
        steps: Number of steps taken.
        stopped_by: The limit that ended the run.
        best_step: The step with the best value of the monitored metric, whose weights the task
            holds at the end; None without ``monitor``.
        best_value: The monitored metric at ``best_step``.
        averaged: The averaged modules by name, of the same step; empty without ``ema_decay``. Those
            of modules that FSDP shards are in the checkpoint alone, as ``ema.<name>``.
    """

    frame: pl.DataFrame
    steps: int
    stopped_by: StopReason
    best_step: int | None = None
    best_value: float | None = None
    averaged: dict[str, nn.Module] = field(default_factory=dict)


class MetricsLog:
    """The file ``metrics.jsonl``: one JSON object a line, appended during the run.

    Args:
        run_dir: Folder of the run.
        step: The step from which the run resumes; rows of later steps are dropped, since those
            steps are taken again.
        write: Whether this process writes; True in one process only.
        tensorboard: Whether to write TensorBoard events to ``run_dir/tensorboard`` as well.
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
        """Flush the rows to disk, before a checkpoint that relies on them."""
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
    """Read the rows of a log; an unfinished last line of a killed process is ignored.

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
