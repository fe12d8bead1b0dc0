"""A model folder's safetensors files, read tensor by tensor."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from okml.errors import DataError


@dataclass
class Weights:
    """The safetensors files of a model folder, read tensor by tensor.

    Attributes:
        folder: The model folder.
        files: File of each tensor.
        blocks: Name of the list of decoder layers.
    """

    folder: Path
    files: dict[str, str]
    blocks: str = "layers"

    @classmethod
    def of(cls, folder: Path) -> Weights:
        """Read which tensor is in which file.

        Raises:
            DataError: If the folder has no safetensors weights.
        """
        index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
        if index.is_file():
            return cls(folder, _weight_map(index))
        if single.is_file():
            with _opened(single) as file:
                return cls(folder, dict.fromkeys(file.keys(), single.name))
        raise DataError(
            f"{folder} has no safetensors weights.", "Save the model with `save_pretrained`."
        )

    def block(self, layer: int, empty: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
        """Read the tensors of one block, under the names of ``empty``'s state."""
        pattern = re.compile(rf"(?:.*\.)?{self.blocks}\.{layer}\.(.+)")
        return self._read(pattern, empty, dtype)

    def outside(self, model: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
        """Read the tensors outside the blocks: embeddings and the final norm."""
        names = sorted(model.state_dict(), key=len, reverse=True)
        pattern = re.compile(rf"(?:.*\.)??({'|'.join(map(re.escape, names))})")
        return self._read(pattern, model, dtype)

    def _read(
        self, pattern: re.Pattern[str], empty: nn.Module, dtype: torch.dtype
    ) -> dict[str, Tensor]:
        wanted = empty.state_dict()
        stored = {m[1]: name for name in self.files if (m := pattern.fullmatch(name))}
        if missing := sorted(wanted.keys() - stored.keys()):
            raise DataError(
                f"{self.folder} lacks the weights of {', '.join(missing[:3])}.",
                "Fetch the model again; only plain decoder stacks can be streamed.",
            )
        state = {}
        for name in wanted:
            with _opened(self.folder / self.files[stored[name]]) as file:
                state[name] = file.get_tensor(stored[name]).to(dtype)
        return state


def _weight_map(index: Path) -> dict[str, str]:
    """Return the file of each tensor; every file lies beside the index."""
    try:
        files = json.loads(index.read_text("utf-8"))["weight_map"]
        if not all(Path(name).name == name != ".." for name in files.values()):
            raise ValueError("a file lies outside of the folder")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{index} does not say which tensor is in which file: {error}.",
            "Save the model with `save_pretrained`.",
        ) from None
    return dict(files)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} is damaged: {error}", "Fetch the model again.") from error
