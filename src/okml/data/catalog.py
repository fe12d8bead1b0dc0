"""The catalog: every data set and model by name, with license, citation, hashes and sources."""

from __future__ import annotations

import difflib
import os
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from okml.data.archives import is_safe_member
from okml.data.digests import ContentHash
from okml.data.hub import HubSnapshotSource
from okml.data.packages import DebSource, JoinedSource, NpmSource, WheelSource
from okml.data.sources import HttpsArchiveSource, HttpsSource, ManualSource, Sha256
from okml.errors import DataError, ParameterError
from okml.settings import Frozen
from okml.yaml_text import parse_yaml

CATALOG_FILE = Path(__file__).with_name("catalog.yml")
# Formats that run code when they are opened.
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib"})

AnySource = Annotated[
    HttpsSource
    | HttpsArchiveSource
    | WheelSource
    | NpmSource
    | DebSource
    | JoinedSource
    | ManualSource,
    Field(discriminator="kind"),
]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._]*$")]


class License(Frozen):
    """The terms of the data, not of the package that carries it."""

    id: str  # the SPDX id if there is one, else a name, which OKML_ACCEPT takes
    url: str
    redistribute: bool  # whether others may pass the file on
    notice: str = ""  # attribution or condition to show beside results
    accept: bool = False  # whether OKML_ACCEPT must name the license before a download


class File(Frozen):
    """One file of an entry. At least one of its hashes is known."""

    name: str  # path below the entry's folder
    bytes: int | None = Field(default=None, ge=0)
    sha256: Sha256 | None = None
    git_blob: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    md5: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")  # used if no better is known
    # A pickle that holds nothing but tensors: its reader must use torch.load(weights_only=True),
    # which runs no code.
    tensors_only: bool = False
    sources: tuple[AnySource, ...] = ()  # best source first; empty: those of the entry

    @field_validator("name")
    @classmethod
    def _name_is_safe(cls, name: str) -> str:
        if not is_safe_member(name):
            raise ValueError(f"{name!r} leads out of the cache")
        return name

    @model_validator(mode="after")
    def _runs_no_code(self) -> Self:
        if PurePosixPath(self.name).suffix in PICKLES and not self.tensors_only:
            raise ValueError(
                f"{self.name!r} is a pickle; safetensors and GGUF hold weights here, or a pickle "
                "of nothing but tensors that says so (tensors_only)"
            )
        return self

    @model_validator(mode="after")
    def _a_hash_is_known(self) -> Self:
        if self.sha256 is None and self.git_blob is None and self.md5 is None:
            raise ValueError(f"{self.name}: sha256, git_blob or md5 is needed")
        return self

    @property
    def digest(self) -> ContentHash:
        """The strongest known hash, which verifies the file."""
        if self.sha256 is not None:
            return ContentHash("sha256", self.sha256)
        if self.git_blob is not None:
            return ContentHash("git_blob", self.git_blob)
        return ContentHash("md5", self.md5 or "")


class DocumentStart(Frozen):
    """The token that a language model expects before a single text."""

    token: str
    id: int
    why: str = ""


class CatalogEntry(Frozen):
    """One data set or model."""

    name: Name
    kind: Literal["dataset", "model"]
    title: str
    license: License
    citation: str  # key in the bibliography, or a plain reference
    origin: str  # the web page of the data set or model
    note: str = ""
    folder: str  # path below a data root
    files: tuple[File, ...] = ()
    sources: tuple[AnySource, ...] = ()  # default of files that name none
    snapshot: HubSnapshotSource | None = None  # a whole folder from the hub, instead of files
    document_start: DocumentStart | None = None  # language models only

    @model_validator(mode="before")
    @classmethod
    def _folder_is_the_name(cls, values: dict[str, object]) -> dict[str, object]:
        return {"folder": values.get("name"), **values}

    @model_validator(mode="after")
    def _can_be_had(self) -> Self:
        if not is_safe_member(self.folder):
            raise ValueError(f"{self.folder!r} leads out of the cache")
        if bool(self.files) == bool(self.snapshot):
            raise ValueError("an entry has either files or a snapshot")
        names = [file.name for file in self.files]
        if len(set(names)) != len(names):
            raise ValueError("two files have the same name")
        for file in self.files:
            if not (file.sources or self.sources):
                raise ValueError(f"{file.name} has no source")
        return self

    @property
    def bytes(self) -> int | None:
        """Bytes of all files; ``None`` when one is unknown, rounded for a snapshot."""
        if self.snapshot is not None:
            return self.snapshot.approximate_bytes
        sizes = [file.bytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def select(self, names: list[str] | None) -> tuple[File, ...]:
        """Return the files called ``names``, or all.

        Raises:
            ParameterError: If the entry has no such file.
        """
        if names is None:
            return self.files
        known = {file.name: file for file in self.files}
        for name in names:
            if name not in known:
                raise ParameterError(
                    f"{self.name} has no file {name!r}.", _suggest(name, list(known))
                )
        return tuple(known[name] for name in names)


def load_catalog(path: Path) -> dict[str, CatalogEntry]:
    """Read and validate a catalog.

    Raises:
        DataError: If the file does not follow the schema; the message names entry and field.
    """
    entries = {}
    try:
        listed = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    if not isinstance(listed, dict):
        raise DataError(f"{path} is not a mapping of names to entries.")
    for name, values in listed.items():
        if str(name).startswith("_"):  # shared pieces, for YAML anchors
            continue
        try:
            entries[name] = CatalogEntry.model_validate({"name": name, **values})
        except (ValidationError, TypeError) as error:
            raise DataError(f"{path.name}: the entry {name!r} is not valid.", str(error)) from error
    return entries


def catalog() -> dict[str, CatalogEntry]:
    """Return all entries by name: okml's own, or in their place those of ``OKML_CATALOG``.

    Raises:
        DataError: If a catalog does not follow the schema.
    """
    own = os.environ.get("OKML_CATALOG")
    return {**_catalog_in(CATALOG_FILE), **(_catalog_in(Path(own)) if own else {})}


@cache
def _catalog_in(path: Path) -> dict[str, CatalogEntry]:
    return load_catalog(path)


def entry(name: str) -> CatalogEntry:
    """Return the entry called ``name``.

    Raises:
        ParameterError: If there is none; the message lists close names.
    """
    entries = catalog()
    if name not in entries:
        raise ParameterError(
            f"The catalog has no data set or model called {name!r}.",
            f"{_suggest(name, list(entries))} `okml data list` shows all.",
        )
    return entries[name]


def _suggest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"Did you mean {' or '.join(close)}?" if close else f"Known: {', '.join(known)}."
