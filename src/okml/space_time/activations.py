"""Activations on disk: one memory-mapped array, filled part by part, safe to kill.

A store is a folder with three files::

    manifest.json    what decides the numbers; written last when the store is created
    activations.npy  [hidden states, entities, d_model]: a probe reads one contiguous block
    done.npy         one flag a part; replaced only after the part's values are on disk

The folder's name ends in the hash of the manifest, so other numbers live in another folder and
nothing stale is ever read.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from filelock import FileLock
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from okml.errors import DataError, ParameterError, ResourceError
from okml.paths import atomic_write
from okml.runtime import GIB
from okml.space_time.batches import Ids, Offsets

Storage = Literal["float16", "float32"]
Write = Callable[[int, Any, NDArray[np.float32]], None]

FORMAT = 1


class StoreManifest(BaseModel):
    """Everything that decides the numbers in a store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    model: str
    fingerprint: str  # SHA-256 of architecture and weights
    data_set: str
    prompt: str
    tokens: str  # SHA-256 of token ids and offsets
    blocks: int  # the states are those before the first block and after each block
    entities: int
    d_model: int
    order: Literal["batch-major", "layer-major"] = "batch-major"
    parts: int  # pieces it is written in: batches of rows, or hidden states
    token_budget: int  # decides the shapes of the products, hence the last bits
    shared_prefix: int = 0  # first tokens that were read once for all prompts
    dtype: str  # type of the computation
    storage: Storage
    device: str
    quantization: str | None
    torch: str = torch.__version__
    transformers: str = transformers.__version__

    @property
    def key(self) -> str:
        """Hash of all fields."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the stored array."""
        return self.blocks + 1, self.entities, self.d_model

    @property
    def folder_name(self) -> str:
        """Name of the store's folder: readable, then the start of the key."""
        label = re.sub(r"[^A-Za-z0-9_]+", "-", f"{self.data_set}-{self.prompt}")
        return f"{label}-{self.key[:16]}"


def tokens_hash(ids: Ids, offsets: Offsets) -> str:
    """Return the SHA-256 of tokenized prompts, the same on every platform."""
    digest = hashlib.sha256(np.ascontiguousarray(offsets, "<i8").tobytes())
    digest.update(np.ascontiguousarray(ids, "<i8").tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class ActivationStore:
    """The activations of one model on one set of prompts.

    Attributes:
        folder: The folder of the files.
        manifest: All that decides the numbers.
        done: One flag a part, [parts].
    """

    folder: Path
    manifest: StoreManifest
    done: NDArray[np.bool_]

    @property
    def finished(self) -> bool:
        """Whether every part is on disk."""
        return bool(self.done.all())

    @property
    def states(self) -> NDArray[np.floating]:
        """All activations, [hidden states, n, d], memory-mapped and read-only."""
        array: NDArray[np.floating] = np.load(self.folder / "activations.npy", mmap_mode="r")
        return array

    def layer(self, layer: int) -> NDArray[np.float32]:
        """Return the residual stream after block ``layer`` as float32, [n, d]; -1: the embedding.

        Raises:
            ParameterError: If there is no such layer.
        """
        last = self.manifest.blocks - 1
        if not -1 <= layer <= last:
            raise ParameterError(f"No layer {layer}: the store has -1 (embedding) to {last}.")
        state: NDArray[np.float32] = self.states[layer + 1].astype(np.float32)
        return state

    def delete(self) -> None:
        """Remove the store from disk."""
        shutil.rmtree(self.folder)

    @contextmanager
    def writing(self, flush_seconds: float) -> Iterator[Write]:
        """Yield a function that stores one part: ``write(part, index, values)``.

        ``index`` says where in the array the values go.

        Rows go to disk before the flags that vouch for them, at most ``flush_seconds`` apart and
        once at the end. A part that raises leaves the finished ones in place.
        """
        if self.finished:
            yield _refuse
            return
        array = np.lib.format.open_memmap(self.folder / "activations.npy", mode="r+")
        limit = float(np.finfo(array.dtype).max)
        last_flush = time.monotonic()

        def flush() -> None:
            nonlocal last_flush
            array.flush()
            _write_flags(self.folder, self.done)
            last_flush = time.monotonic()

        def write(part: int, index: Any, values: NDArray[np.float32]) -> None:
            peak = float(np.abs(values).max())
            if peak > limit:
                raise ParameterError(
                    f"An activation of {peak:.3g} does not fit {array.dtype} on disk.",
                    "Store float32.",
                )
            array[index] = values
            self.done[part] = True
            if time.monotonic() - last_flush >= flush_seconds:
                flush()

        try:
            yield write
        finally:
            flush()


def _refuse(part: int, index: Any, values: NDArray[np.float32]) -> None:
    raise ParameterError(f"Part {part} offered to a finished store.")


@contextmanager
def open_store(root: Path, manifest: StoreManifest) -> Iterator[ActivationStore]:
    """Open the store of ``manifest`` under ``root``, creating it if it is not there.

    The store is locked meanwhile: a second process waits, and then finds it finished.

    Raises:
        DataError: If the store on disk is damaged or is not what its folder's name says.
        ResourceError: If the disk is too small for a new one.
    """
    folder = root / manifest.folder_name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{folder.name}.lock"):
        if not (folder / "manifest.json").is_file():
            _create(folder, manifest)
        yield read_store(folder, manifest)


def read_store(folder: Path, expected: StoreManifest | None = None) -> ActivationStore:
    """Read a store's manifest and flags and check that they and the array fit together.

    Args:
        folder: The store's own folder.
        expected: The manifest it must have; None accepts any.

    Raises:
        DataError: If a file is missing, damaged, or of another store.
    """
    try:
        manifest = StoreManifest.model_validate_json((folder / "manifest.json").read_bytes())
        done: NDArray[np.bool_] = np.load(folder / "done.npy")
        array = np.load(folder / "activations.npy", mmap_mode="r")
    except (OSError, ValueError, EOFError, OverflowError, AttributeError) as error:
        raise _damaged(folder, str(error)) from error
    if manifest.folder_name != folder.name or (expected and manifest != expected):
        raise _damaged(folder, "its manifest describes other activations")
    if array.shape != manifest.shape or array.dtype != np.dtype(manifest.storage):
        raise _damaged(folder, f"its array is {array.dtype} {array.shape}")
    if done.shape != (manifest.parts,) or done.dtype != np.bool_:
        raise _damaged(folder, f"its flags are {done.dtype} {done.shape}")
    return ActivationStore(folder, manifest, done)


def _damaged(folder: Path, why: str) -> DataError:
    return DataError(
        f"The activations in {folder} cannot be used: {why}.",
        "Delete that folder; they are computed again.",
    )


def _create(folder: Path, manifest: StoreManifest) -> None:
    dtype = np.dtype(manifest.storage)
    needed = int(np.prod(manifest.shape)) * dtype.itemsize
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ResourceError(
            f"The activations take {needed / GIB:.1f} GiB and {folder} has {free / GIB:.1f} free.",
            "Read fewer entities, or work in a folder on a larger disk.",
        )
    np.lib.format.open_memmap(
        folder / "activations.npy", mode="w+", dtype=dtype, shape=manifest.shape
    ).flush()
    _write_flags(folder, np.zeros(manifest.parts, dtype=np.bool_))
    with atomic_write(folder / "manifest.json") as file:
        file.write(manifest.model_dump_json(indent=2))


def _write_flags(folder: Path, done: NDArray[np.bool_]) -> None:
    with atomic_write(folder / "done.npy", "wb") as file:
        np.save(file, done)
