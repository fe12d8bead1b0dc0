"""Checkpoints on disk: written atomically, verified when read, and without pickled code.

``checkpoints/step_00000100/`` holds one safetensors file for each module, ``optimizers.pt`` and
``state.pt`` (read with ``weights_only=True``, which builds tensors and plain containers and runs
no code), and ``manifest.json`` with the checksums of the others and a description of the run.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from okml.errors import TrainingError
from okml.lifeline import writing
from okml.paths import sync_folder
from okml.settings import Frozen

MANIFEST = "manifest.json"
UNFINISHED = ".unfinished-"
OPTIMIZERS, STATE = "optimizers.pt", "state.pt"
STEP_FOLDER = re.compile(r"step_(\d{8,})")

Weights = dict[str, dict[str, Tensor]]  # module: parameter: weights


def _plain_name(name: str) -> str:
    if Path(name).name != name or name == "..":
        raise ValueError(f"{name!r} is no name of a file in the folder")
    return name


FileName = Annotated[str, AfterValidator(_plain_name)]


class CheckpointManifest(Frozen):
    """The readable part of a checkpoint."""

    format: Literal[1] = 1
    step: int
    best_step: int | None  # the best checkpoint at that time; may be this one
    description: dict[str, Any]  # traits of task, data and settings that a resumed run must share
    files: dict[FileName, str]  # SHA-256


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint, in memory."""

    step: int
    best_step: int | None
    description: dict[str, Any]
    weights: Weights
    optimizers: dict[str, Any]
    state: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        run_dir: Folder of the run.
        keep: Number of the newest checkpoints to keep; the best is kept as well.
    """

    def __init__(self, run_dir: Path, keep: int = 2) -> None:
        self.folder = run_dir / "checkpoints"
        self.keep = keep

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, in ascending order."""
        names = (STEP_FOLDER.fullmatch(path.name) for path in self.folder.glob("step_*"))
        return sorted(int(name[1]) for name in names if name)

    def path(self, step: int) -> Path:
        """Return the folder of a step's checkpoint."""
        return self.folder / f"step_{step:08d}"

    def save(self, snapshot: Checkpoint) -> None:
        """Write a checkpoint and remove those no longer needed.

        Files are written and synced in a temporary folder, which is then renamed: a process killed
        at any time leaves the checkpoint whole or leaves none.
        """
        if not self.path(snapshot.step).exists():
            with writing():
                self._write(snapshot)

    def _write(self, snapshot: Checkpoint) -> None:
        unfinished = self.folder / f"{UNFINISHED}{uuid.uuid4().hex}"
        unfinished.mkdir(parents=True)
        for name, tensors in snapshot.weights.items():
            save_file(tensors, unfinished / f"{name}.safetensors")
        torch.save(snapshot.optimizers, unfinished / OPTIMIZERS)
        torch.save(snapshot.state, unfinished / STATE)
        _load_plain(unfinished / STATE)  # fail now, not when a long run needs it
        manifest = CheckpointManifest(
            step=snapshot.step,
            best_step=snapshot.best_step,
            description=snapshot.description,
            files={path.name: _sync_and_hash(path) for path in unfinished.iterdir()},
        )
        (unfinished / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        _sync_and_hash(unfinished / MANIFEST)
        sync_folder(unfinished)
        unfinished.rename(self.path(snapshot.step))
        sync_folder(self.folder)
        self._prune(snapshot.best_step)

    def _prune(self, best_step: int | None) -> None:
        kept = {*self.steps()[-self.keep :], best_step}
        for step in set(self.steps()) - kept:
            # Renamed first, so that a half-removed folder is not taken for a damaged checkpoint.
            doomed = self.folder / f"{UNFINISHED}{uuid.uuid4().hex}"
            self.path(step).rename(doomed)
        self.clean()

    def clean(self) -> None:
        """Remove the unfinished folders of killed processes."""
        for path in self.folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(path)

    def manifest(self, step: int) -> CheckpointManifest:
        """Read and verify the manifest of a checkpoint and the checksums in it.

        Raises:
            TrainingError: If a file is missing or differs from the one that was written.
        """
        folder = self.path(step)
        try:
            manifest = CheckpointManifest.model_validate_json((folder / MANIFEST).read_bytes())
            for name, checksum in manifest.files.items():
                if _hash(folder / name) != checksum:
                    raise self._damaged(step, f"{name} has changed since it was written")
            if missing := {OPTIMIZERS, STATE} - manifest.files.keys():
                raise self._damaged(step, f"its manifest lacks {', '.join(sorted(missing))}")
        except (OSError, ValidationError) as error:
            raise self._damaged(step, str(error)) from None
        return manifest

    def load(self, step: int) -> Checkpoint:
        """Read a checkpoint; tensors lie on the CPU.

        Raises:
            TrainingError: If it is damaged.
        """
        manifest = self.manifest(step)
        folder = self.path(step)
        return Checkpoint(
            step=manifest.step,
            best_step=manifest.best_step,
            description=manifest.description,
            weights=self._weights(step, manifest),
            optimizers=_load_plain(folder / OPTIMIZERS),
            state=_load_plain(folder / STATE),
        )

    def _weights(self, step: int, manifest: CheckpointManifest) -> Weights:
        return {
            name.removesuffix(".safetensors"): load_file(self.path(step) / name)
            for name in manifest.files
            if name.endswith(".safetensors")
        }

    def _damaged(self, step: int, reason: str) -> TrainingError:
        return TrainingError(
            f"The checkpoint {self.path(step)} is damaged: {reason}.",
            "Remove that folder to go on from the one before it, or the whole run folder to start "
            "again.",
        )


def load_weights(run_dir: Path, which: Literal["best", "last"] | int = "last") -> Weights:
    """Return the weights of a run's checkpoint, by module; averaged ones are called ``ema.<name>``.

    Args:
        run_dir: Folder of the run.
        which: A step, the newest checkpoint, or the best by the monitored metric.

    Raises:
        TrainingError: If there is none, or it is damaged.
    """
    store = CheckpointStore(run_dir)
    steps = store.steps()
    if not steps:
        raise TrainingError(f"There is no checkpoint in {store.folder}.", "Train first.")
    step: int | None = steps[-1]
    if which == "best":
        step = store.manifest(steps[-1]).best_step
        if step is None:
            raise TrainingError(f"The run {run_dir} monitors no metric, so it has no best.")
    elif which != "last":
        step = which
    if step not in steps:
        raise TrainingError(f"{store.folder} has no checkpoint of step {step}: {steps}.")
    return store._weights(step, store.manifest(step))


def _load_plain(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises UnpicklingError, RuntimeError and others here
        raise TrainingError(
            f"{path.name} holds more than tensors, numbers, strings and containers: {error}",
            "A task's state() and a scheduler's attributes must be made of those.",
        ) from None
    return content


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_and_hash(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return _hash(path)
