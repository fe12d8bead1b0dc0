"""The dependencies of a kept result: settings, device, inputs, data, libraries and code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import polars as pl
from pydantic import BaseModel

from okml.code_key import Code, full_name, package_sources
from okml.data import CatalogEntry, catalog
from okml.data.models import own_weights
from okml.profile import Profile, canonical_hash
from okml.settings import Frozen

NAME_LENGTH = 16  # characters of a key in the name of a folder


class Needs(Frozen):
    """The dependencies of a result; results with different dependencies are kept side by side.

    Attributes:
        settings: SHA-256 of the profile.
        device: The device that computed it; empty where the result's own files name the device.
        inputs: SHA-256 of the function's arguments, with objects of okml given by their class.
        entries: Names of the functions and classes that the code starts from.
        code: SHA-256 of each function, class and constant that they can reach.
        libraries: Versions of the libraries that this code names.
        data: SHA-256 of each entry of the catalog and each local model folder that it reads.
    """

    settings: str
    device: str
    inputs: str
    entries: tuple[str, ...]
    code: dict[str, str]
    libraries: dict[str, str]
    data: dict[str, str]

    @property
    def key(self) -> str:
        """The SHA-256 of all fields."""
        return canonical_hash(self.model_dump(mode="json"))

    @property
    def folder_name(self) -> str:
        """The name of the folder that keeps the result."""
        return self.key[:NAME_LENGTH]

    def same_but_code(self, other: Self) -> bool:
        """Tell whether two results would be the same if their code were."""
        mine, others = (
            (needs.settings, needs.device, needs.inputs, needs.entries) for needs in (self, other)
        )
        both = self.data.keys() & other.data.keys()
        return mine == others and all(self.data[name] == other.data[name] for name in both)

    def differences(self, other: Self) -> tuple[str, ...]:
        """Return the functions, classes, constants and libraries in which two codes differ."""
        versions = (
            f"{name} {self.libraries.get(name, 'unused')} → {other.libraries.get(name, 'unused')}"
            for name in _differing(self.libraries, other.libraries)
        )
        return (*_differing(self.code, other.code), *versions)


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def needs_of(profile: Profile, entries: Iterable[str], device: str = "", inputs: str = "") -> Needs:
    """Return the dependencies of a result with the current code, libraries and data.

    Args:
        profile: The settings of the run.
        entries: Functions and classes that the code starts from; see :meth:`Sources.reach`.
        device: The device that computes it.
        inputs: SHA-256 of the function's arguments.

    Raises:
        KeyError: If the sources have no such function or class.
    """
    stated = tuple(dict.fromkeys((*entries, *_in_package(type(profile)))))
    code = package_sources().reach(*stated)
    return Needs(
        settings=profile.fingerprint(),
        device=device,
        inputs=inputs,
        entries=stated,
        code=dict(code.parts),
        libraries=code.versions(),
        data=_data(code, profile),
    )


def _in_package(kind: type) -> tuple[str, ...]:
    """Return the full name of a class of okml; an empty tuple for other classes."""
    name = full_name(kind)
    return (name,) if name.split(".")[0] == package_sources().folder.name else ()


def _data(code: Code, profile: Profile) -> dict[str, str]:
    """Return digests of the data and models that code or settings name."""
    named = set(_strings(profile.model_dump()))
    entries = {
        name: canonical_hash(_contents(entry))
        for name, entry in catalog().items()
        if name in named or name in code.words
    }
    folders = {name: found for name in named - entries.keys() if (found := own_weights(name))}
    return dict(sorted((entries | folders).items()))


def _contents(entry: CatalogEntry) -> Any:
    """Return the hashes of an entry's files, or the revision of a whole repository."""
    if entry.snapshot is not None:
        return entry.snapshot.repo, entry.snapshot.revision
    return {file.name: str(file.digest) for file in entry.files}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _strings(tuple(value.values()))
    elif isinstance(value, Sequence):
        for item in value:
            yield from _strings(item)


def describe(given: Any, profile: Profile) -> tuple[str, tuple[str, ...]]:
    """Return the SHA-256 of a function's arguments, and the names of the okml classes among them.

    Numbers, strings, frames and settings are hashed by content. An object with the run's profile,
    such as its study, is hashed by class: its state follows from class and profile.

    Raises:
        TypeError: If an argument is of another kind.
    """
    kinds: list[type] = []
    found = canonical_hash(_content(given, profile, kinds))
    return found, tuple(name for kind in kinds for name in _in_package(kind))


def _content(value: Any, profile: Profile, kinds: list[type]) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case np.generic():
            return value.item()
        case pl.DataFrame():
            return ["frame", str(value.schema), canonical_hash(value.to_dict(as_series=False))]
        case Mapping():
            return [[key, _content(inner, profile, kinds)] for key, inner in value.items()]
        case list() | tuple():
            return [_content(inner, profile, kinds) for inner in value]
    kinds.append(type(value))
    if isinstance(value, BaseModel):
        return [full_name(type(value)), value.model_dump(mode="json")]
    if getattr(value, "profile", None) == profile:
        return full_name(type(value))
    raise TypeError(f"What a {type(value).__name__} holds is not known to change a result or not.")
