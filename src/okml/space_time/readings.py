"""The files of a pass of a model over an entity set: scores of all layers, states of some.

A reading is a folder with three kinds of files::

    curves.parquet, predictions.parquet   the probes of all layers
    state_00.npy, state_01.npy, …         [n, d]: the embedding, block 0, …; those that are kept
    reading.json                          shape and type of the states, which layers are kept

It is written beside its place and renamed once it is whole, so what is there is finished. A pass
that was killed is read again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from okml.errors import DataError, ParameterError, ResourceError
from okml.paths import left_unfinished, unfinished
from okml.runtime import GIB
from okml.settings import Frozen

Storage = Literal["float16", "float32"]
FRAMES = ("curves", "predictions")


class Listing(Frozen):
    """What a reading consists of.

    Attributes:
        blocks: The number of blocks of the model.
        entities: The number of names n.
        d_model: The width d of the residual stream.
        storage: The type of the states.
        layers: The layers that are kept; -1 is the embedding.
        chosen: The layer that leave-one-out picks with the first seed.
    """

    blocks: int
    entities: int
    d_model: int
    storage: Storage
    layers: tuple[int, ...]
    chosen: int


@dataclass(frozen=True)
class Reading:
    """A finished reading.

    Attributes:
        folder: The folder of the files.
        listing: The sizes and layers that the files hold.
    """

    folder: Path
    listing: Listing

    @cached_property
    def frames(self) -> dict[str, pl.DataFrame]:
        """The probes of all layers: ``curves`` and ``predictions``."""
        try:
            return {name: pl.read_parquet(self.folder / f"{name}.parquet") for name in FRAMES}
        except (OSError, pl.exceptions.PolarsError) as error:
            raise _damaged(self.folder, str(error).splitlines()[0]) from error

    def layer(self, layer: int) -> NDArray[np.float32]:
        """Return the residual stream after block ``layer`` as float32, [n, d]; -1: the embedding.

        Raises:
            ParameterError: If the layer is not kept.
            DataError: If its file is damaged.
        """
        listing = self.listing
        if layer not in listing.layers:
            kept = ", ".join(map(str, listing.layers)) or "none"
            raise ParameterError(
                f"Layer {layer} of {self.folder.name} is not kept; kept: {kept}.",
                "Set keep_activations=true, or name the layer in okml.space_time.arms.layers_kept.",
            )
        try:
            states = np.load(self.folder / _file(layer), mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(self.folder, str(error)) from error
        if states.shape != (listing.entities, listing.d_model) or states.dtype != listing.storage:
            raise _damaged(self.folder, f"{_file(layer)} is {states.dtype} {states.shape}")
        found: NDArray[np.float32] = states.astype(np.float32)
        return found


def open_reading(folder: Path) -> Reading | None:
    """Return the finished reading in a folder; None if there is none.

    Raises:
        DataError: If it is damaged.
    """
    if not folder.is_dir():
        return None
    try:
        listing = Listing.model_validate_json((folder / "reading.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise _damaged(folder, str(error).splitlines()[0]) from error
    return Reading(folder, listing)


class Draft:
    """A reading that is being written; see :func:`drafted`.

    Args:
        folder: The folder it is written in.
        storage: The type of the states on disk.
    """

    def __init__(self, folder: Path, storage: Storage) -> None:
        self.folder = folder
        self.storage = storage
        self.layers: set[int] = set()
        self.listing: Listing

    def keep(self, layer: int, states: Tensor) -> None:
        """Write the states after a layer, [n, d].

        Raises:
            ResourceError: If the disk is too small.
        """
        free = shutil.disk_usage(self.folder).free
        if states.nbytes > free:
            raise ResourceError(
                f"Layer {layer} takes {states.nbytes / GIB:.1f} GiB and {self.folder.parent} has "
                f"{free / GIB:.1f} free.",
                "Read fewer entities, or work in a folder on a larger disk.",
            )
        np.save(self.folder / _file(layer), states.cpu().numpy())
        self.layers.add(layer)

    def finish(
        self, frames: Mapping[str, pl.DataFrame], shape: tuple[int, int, int], chosen: int
    ) -> None:
        """Write the probes of all layers, and last what the reading consists of.

        Args:
            frames: The frames ``curves`` and ``predictions``.
            shape: The numbers of blocks and of names, and the width of the stream.
            chosen: The layer that leave-one-out picks with the first seed.
        """
        for name in FRAMES:
            frames[name].write_parquet(self.folder / f"{name}.parquet")
        blocks, entities, d_model = shape
        self.listing = Listing(
            blocks=blocks,
            entities=entities,
            d_model=d_model,
            storage=self.storage,
            layers=tuple(sorted(self.layers)),
            chosen=chosen,
        )
        (self.folder / "reading.json").write_text(self.listing.model_dump_json(indent=2))


@contextmanager
def drafted(folder: Path, storage: Storage) -> Iterator[Draft]:
    """Yield a draft of the reading in ``folder``, which takes its place when the block ends.

    Nothing is left of a draft whose block raises; that of a killed process is removed by the next.
    """
    for dead in left_unfinished(folder):
        shutil.rmtree(dead, ignore_errors=True)
    part = folder.with_name(f"{unfinished(folder)}part")
    part.mkdir(parents=True)
    try:
        yield Draft(part, storage)
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def rounded(states: Tensor, storage: Storage) -> Tensor:
    """Return states [n, d] in the type they are stored in, so that what is kept decides no number.

    Raises:
        ParameterError: If a value is beyond the type.
    """
    dtype: torch.dtype = getattr(torch, storage)
    peak = float(states.abs().max())
    if peak > torch.finfo(dtype).max:
        raise ParameterError(
            f"An activation of {peak:.3g} does not fit {storage} on disk.", "Store float32."
        )
    return states.to(dtype)


def _file(layer: int) -> str:
    return f"state_{layer + 1:02}.npy"


def _damaged(folder: Path, why: str) -> DataError:
    return DataError(
        f"The reading in {folder} cannot be used: {why}.",
        "Delete that folder; the model is read again.",
    )
