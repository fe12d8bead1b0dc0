"""Folders of trainings and of other long computations whose results several steps use.

``training/Study.train-3f9a…/`` holds the results of the function for one set of dependencies.
``code.json`` in it lists these needs; several where other code adopted the trainings.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from okml.code_key import WHOLE, full_name
from okml.kept.needs import Needs, needs_of
from okml.paths import atomic_write
from okml.profile import Profile

if TYPE_CHECKING:
    import torch

FOLDER, CODE = "training", "code.json"


class AnyStudy(Protocol):
    """A study: the data and trainings that the steps of a run share, or a part of them."""

    @property
    def profile(self) -> Profile:
        """The settings of the run."""
        ...

    @property
    def run_dir(self) -> Path:
        """The folder of the run."""
        ...

    @property
    def device(self) -> torch.device:
        """The device of the computations."""
        ...


def trainings_folder(study: AnyStudy, *made_by: Any) -> Path:
    """Return the folder for the results of functions with the settings of a run; create it.

    Other settings or other code get another folder. The functions' arguments are no part of the
    key: they follow from the settings and from code that is named too, or they are in the names
    of the files; see :func:`distinct`.

    Args:
        study: The study of the run.
        made_by: Functions and methods, or classes of which all methods count.
    """
    entries = [
        full_name(thing) + WHOLE if isinstance(thing, type) else full_name(thing)
        for thing in made_by
    ]
    needs = needs_of(study.profile, (*entries, full_name(type(study))))
    folder = study.run_dir / FOLDER / folder_name(needs)
    if not (folder / CODE).exists():
        write_versions(folder, [needs])
    return folder


def distinct(name: str, settings: object) -> str:
    """Return a file name of a readable part and a hash of the settings.

    Args:
        name: The readable part.
        settings: An object whose ``repr`` shows all of its fields, such as a data class.
    """
    return f"{name}_{hashlib.sha256(repr(settings).encode()).hexdigest()[:12]}"


def folder_name(needs: Needs) -> str:
    """Return the name of the folder for these needs: the function and the start of the key."""
    return f"{maker(needs)}-{needs.folder_name}"


def maker(needs: Needs) -> str:
    """Return the name of the first entry function, with its class or module."""
    return ".".join(needs.entries[0].removesuffix(WHOLE).split(".")[-2:])


@dataclass(frozen=True)
class Trainings:
    """A folder of trainings with the settings of a run.

    Attributes:
        folder: The folder on disk.
        versions: The needs of all code that wrote into the folder, the oldest first.
        now: The same functions' needs with the current code; None where a function is gone.
    """

    folder: Path
    versions: list[Needs]
    now: Needs | None

    @property
    def current(self) -> bool:
        """Whether the current code uses this folder."""
        return self.now is not None and self.folder.name == folder_name(self.now)


def all_trainings(profile: Profile, run_dir: Path) -> Iterator[Trainings]:
    """Yield the folders of trainings with the settings of a run, by any code, the newest first."""
    places = [path.parent for path in (run_dir / FOLDER).glob(f"*/{CODE}")]
    for folder in sorted(places, key=lambda place: place.stat().st_mtime, reverse=True):
        versions = read_versions(folder)
        if versions and versions[-1].settings == profile.fingerprint():
            yield Trainings(folder, versions, needs_now(profile, versions[-1]))


def needs_now(profile: Profile, needs: Needs) -> Needs | None:
    """Return the same functions' needs with the current code; None where a function is gone."""
    try:
        return needs_of(profile, needs.entries, needs.device, needs.inputs)
    except KeyError:
        return None


def trainings_in_use(profile: Profile, run_dir: Path) -> list[Path]:
    """Return the folders of trainings that a run with these settings continues."""
    return [found.folder for found in all_trainings(profile, run_dir) if found.current]


def remove_superseded(profile: Profile, run_dir: Path) -> None:
    """Remove superseded trainings, once a whole run of the current code is recorded.

    The newest trainings of earlier code stay, so that one can go back to that code.
    """
    before: set[tuple[str, ...]] = set()
    for found in all_trainings(profile, run_dir):
        entries = found.versions[-1].entries
        if found.current:
            continue
        if entries in before:
            print(f"kept: trainings by code before last are removed: {found.folder}", flush=True)
            shutil.rmtree(found.folder)
        before.add(entries)


def write_versions(folder: Path, versions: list[Needs]) -> None:
    """Write the needs of all code that used a folder."""
    with atomic_write(folder / CODE) as handle:
        json.dump([needs.model_dump(mode="json") for needs in versions], handle)


def read_versions(folder: Path) -> list[Needs]:
    """Return the needs of all code that used a folder; an empty list if the file is damaged."""
    try:
        listed = json.loads((folder / CODE).read_text(encoding="utf-8"))
        return [Needs.model_validate(needs) for needs in listed]
    except (OSError, ValueError, TypeError):
        return []
