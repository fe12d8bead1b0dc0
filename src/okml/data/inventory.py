"""The content of the data folders, as plain data for the command line and for run records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from okml.data.by_hand import UNVOUCHED, Unvouched, manual_files, manual_url
from okml.data.cache import expected_files, read_notes
from okml.data.catalog import CatalogEntry, catalog, entry
from okml.data.digests import Expected, digest_of, remember
from okml.data.fetch import fetch
from okml.data.progress import waiting
from okml.errors import DataError
from okml.paths import data_roots
from okml.settings import Frozen

State = Literal["here", "partly here", "not here"]


class Listed(Frozen):
    """One line of ``okml data list``."""

    name: str
    kind: Literal["dataset", "model"]
    title: str
    license: str
    gated: bool  # whether terms must be accepted first
    redistribute: bool
    bytes: int | None  # None when the size of a file is unknown
    files: int  # 0 for a snapshot that was not fetched
    state: State  # judged by name and size; `verify` reads the content
    folder: Path | None  # the folder that holds its files
    bytes_here: int
    by_hand: str  # the page from which a person fetches it; empty where `fetch` does
    names: tuple[str, ...]  # the files that a person brings
    target: Path  # the folder for fetched files

    @property
    def instruction(self) -> str:
        """The instruction to fetch it by hand; empty where `fetch` does."""
        if not self.by_hand:
            return ""
        return f"by hand: {self.by_hand} → {self.target} ({', '.join(self.names)})"


class FileCheck(Frozen):
    """One line of ``okml data verify``."""

    file: str
    state: Literal["ok", "missing", "damaged"]
    path: Path | None
    expected: str
    found: str
    source: str


class FetchedFile(Frozen):
    """One file that a run read: its source and its content hash."""

    file: str
    path: Path
    source: str
    sha256: str
    bytes: int


def listing() -> list[Listed]:
    """Return all data sets and models with their state in the data folders.

    The entries of the catalog come first, then the data sets without published hashes.
    """
    return [_listed_entry(found) for found in catalog().values()] + [
        _listed_by_hand(found) for found in UNVOUCHED.values()
    ]


def listed(name: str) -> Listed | None:
    """Return one line of the listing; None for an unknown name, such as a folder's."""
    if name in catalog():
        return _listed_entry(catalog()[name])
    return _listed_by_hand(UNVOUCHED[name]) if name in UNVOUCHED else None


def _listed_entry(found: CatalogEntry) -> Listed:
    roots = data_roots()
    files = next(filter(None, (expected_files(found, root) for root in roots)), ())
    places = [_first_place(found, file, roots) for file in files]
    return Listed(
        name=found.name,
        kind=found.kind,
        title=found.title,
        license=found.license.id,
        gated=found.license.accept,
        redistribute=found.license.redistribute,
        bytes=found.bytes,
        files=len(files),
        by_hand=manual_url(found),
        names=manual_files(found),
        target=roots[0] / found.folder,
        **_presence(places),
    )


def _listed_by_hand(found: Unvouched) -> Listed:
    roots = data_roots()
    folders = [root / found.name for root in roots]
    choices = ([folder / file for folder in folders for file in names] for names in found.files)
    return Listed(
        name=found.name,
        kind="dataset",
        title=found.title,
        license=found.license,
        gated=False,
        redistribute=False,
        bytes=found.bytes,
        files=len(found.files),
        by_hand=found.url,
        names=tuple(name for name, *_ in found.files),
        target=roots[0] / found.name,
        **_presence([next(filter(Path.is_file, paths), None) for paths in choices]),
    )


def _presence(places: list[Path | None]) -> dict[str, Any]:
    """Return the presence fields of a line, from the path of each file (None: missing)."""
    present = [place for place in places if place is not None]
    state: State = "not here"
    if present:
        state = "here" if len(present) == len(places) else "partly here"
    return {
        "state": state,
        "folder": present[0].parent if present else None,
        "bytes_here": sum(place.stat().st_size for place in present),
    }


def _first_place(found: CatalogEntry, file: Expected, roots: list[Path]) -> Path | None:
    for root in roots:
        path = root / found.folder / file.name
        if path.is_file() and file.bytes in (None, path.stat().st_size):
            return path
    return None


def verify(name: str) -> list[FileCheck]:
    """Hash every file of an entry, ignoring stamps, and compare with the expected hashes.

    Raises:
        ParameterError: If the catalog has no such entry.
        DataError: If its files have no published hashes, or its notes are damaged.
    """
    if name in UNVOUCHED:
        raise DataError(
            f"There is no hash to compare the files of {name} with.",
            "They are read as they are; every reader checks their form.",
        )
    found = entry(name)
    roots = data_roots()
    checks = []
    for file in next(filter(None, (expected_files(found, root) for root in roots)), ()):
        paths = [root / found.folder / file.name for root in roots]
        path = next((path for path in paths if path.is_file()), None)
        content = ""
        if path is not None:
            with waiting(f"reading {file.name}"):
                digest = digest_of(path, file.digest.algorithm)
            content = str(digest)
            if digest == file.digest:
                remember(path, digest, roots[0])
        state: Literal["ok", "missing", "damaged"] = "missing"
        if path is not None:
            state = "ok" if content == str(file.digest) else "damaged"
        checks.append(
            FileCheck(
                file=file.name,
                state=state,
                path=path,
                expected=str(file.digest),
                found=content,
                source=_source(found, file.name, path) if path else "",
            )
        )
    return checks


def fetched_from(name: str, files: Iterable[str] | None = None) -> dict[str, FetchedFile]:
    """Return the source and hash of each file of an entry, for captions and run records.

    Missing files are fetched first. Arguments and errors are those of ``fetch``.
    """
    found = entry(name)
    known = {file.name: file.sha256 for file in found.files}
    return {
        file: FetchedFile(
            file=file,
            path=path,
            source=_source(found, file, path),
            sha256=known.get(file) or digest_of(path, "sha256").value,
            bytes=path.stat().st_size,
        )
        for file, path in fetch(name, files).items()
    }


def _source(found: CatalogEntry, file: str, path: Path) -> str:
    """Return the source of a file; one that was copied by hand has only a verified content."""
    folder = next(
        root / found.folder for root in data_roots() if path == root / found.folder / file
    )
    note = read_notes(folder).get(file)
    if note is not None:
        return note.source
    sources = next(known.sources or found.sources for known in found.files if known.name == file)
    return f"a copy of {sources[0].describe(file)}"
