"""The files in the data folders, and the notes on their sources."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from okml.clock import now
from okml.data.archives import is_safe_member
from okml.data.catalog import CatalogEntry, File
from okml.data.digests import ContentHash, Expected, digest_of, remember, verified_digest
from okml.data.progress import waiting
from okml.errors import DataError
from okml.paths import atomic_write
from okml.settings import Frozen

NOTES = "provenance.json"  # the file lies beside the files of an entry


class Note(Frozen):
    """The source of one file."""

    source: str  # description by `Source.obtain`
    digest: str  # "algorithm:hex", as it was verified
    bytes: int
    fetched: str  # UTC, ISO 8601


def repair_command(name: str) -> str:
    """Return the sentence that says how to repair an entry."""
    return f"Repair it with: okml data fetch {name} --force"


def cached(
    folder: str, file: Expected, roots: list[Path], repair: str, *, past_damage: bool = False
) -> Path | None:
    """Return the verified path of a file in the first data folder that has it, or ``None``.

    Args:
        folder: The entry's folder below a data folder.
        file: The file and its hash.
        roots: The data folders; the first, the cache, holds the stamps.
        repair: The advice in the error about a damaged file, a sentence.
        past_damage: Whether to try the next folder after a damaged file instead of raising.

    Raises:
        DataError: If the file is there with other content.
    """
    for root in roots:
        path = root / folder / file.name
        if not path.is_file():
            continue
        if damage := _damage(path, file, roots[0]):
            if past_damage:
                continue
            raise DataError(damage, repair)
        return path
    return None


def noted_folder(
    folder: str, roots: list[Path], repair: str, *, past_damage: bool = False
) -> dict[str, Path]:
    """Return the verified files of a folder whose notes, not the catalog, list them.

    Such folders are snapshots from the hub and converted models. The result is empty where no
    data folder has one. Arguments are those of ``cached``.

    Raises:
        DataError: If a file is damaged or missing.
    """
    for root in roots:
        paths = {}
        for file in noted_files(root / folder):
            path = root / folder / file.name
            if damage := _damage(path, file, roots[0]):
                if past_damage:
                    break
                raise DataError(damage, repair)
            paths[file.name] = path
        else:
            if paths:
                return paths
    return {}


def _damage(path: Path, file: Expected, cache: Path) -> str:
    """Return what is wrong with a file; empty if its content is as expected."""
    if not path.is_file():
        return f"{path} is missing."
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        # The size alone proves damage, without hashing what may be many gigabytes.
        found = f"{size:,} bytes instead of {file.bytes:,}"
    else:
        found = str(verified_digest(path, file.digest, cache))
    if found == str(file.digest):
        return ""
    return f"{path} is damaged: expected {file.digest}, found {found}."


def expected_files(entry: CatalogEntry, root: Path) -> tuple[Expected, ...]:
    """Return the expected files of ``entry`` in ``root``, by the catalog or a snapshot's notes.

    The result is empty for a snapshot that was not fetched, since its files are not known yet.
    """
    if entry.snapshot is None:
        return tuple(expected(file) for file in entry.files)
    return noted_files(root / entry.folder)


def expected(file: File) -> Expected:
    """Return the hash and size of a file in the catalog."""
    return Expected(file.name, file.digest, file.bytes)


def noted_files(folder: Path) -> tuple[Expected, ...]:
    """Return the files that the notes of a folder list."""
    return tuple(
        Expected(name, _parse_digest(note.digest), note.bytes)
        for name, note in read_notes(folder).items()
    )


def _parse_digest(text: str) -> ContentHash:
    algorithm, _, value = text.partition(":")
    return ContentHash("git_blob" if algorithm == "git_blob" else "sha256", value)


def read_notes(folder: Path) -> dict[str, Note]:
    """Return the notes of a folder by file; empty if it has none.

    Raises:
        DataError: If the notes are damaged.
    """
    path = folder / NOTES
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        notes = {name: Note.model_validate(note) for name, note in listed.items()}
        if unsafe := [name for name in notes if not is_safe_member(name)]:
            raise ValueError(f"{unsafe[0]!r} leads out of the folder")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} is damaged: {reason}.",
            "Remove it: the files beside it are verified, or fetched again, without it.",
        ) from None
    return notes


def write_notes(folder: Path, notes: dict[str, Note]) -> None:
    """Replace the notes of a folder."""
    with atomic_write(folder / NOTES) as handle:
        json.dump({name: note.model_dump() for name, note in notes.items()}, handle, indent=2)


def note_all(folder: Path, source: str) -> None:
    """Hash every file of a folder that was made locally, and note ``source`` for each."""
    notes = {}
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        digest = str(digest_of(path, "sha256"))
        notes[path.name] = Note(
            source=source, digest=digest, bytes=path.stat().st_size, fetched=now()
        )
    write_notes(folder, notes)


def publish(part: Path, target: Path, digest: ContentHash, cache: Path) -> None:
    """Move a verified file to its place atomically."""
    with part.open("rb") as handle:
        os.fsync(handle.fileno())
    part.replace(target)
    remember(target, digest, cache)


@contextmanager
def exclusive(name: str, cache: Path) -> Iterator[None]:
    """Let one process at a time fetch or convert ``name``; the others wait.

    The operating system releases the lock of a process that dies.

    Raises:
        DataError: If the cache cannot be written to.
    """
    lock_file = cache / ".locks" / f"{name}.lock"
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(lock_file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            with waiting(f"another process is fetching {name}"):
                lock.acquire()
    except OSError as error:
        raise DataError(
            f"The data folder {cache} cannot be written to ({error.strerror}).",
            "Name a writable one first in OKML_DATA.",
        ) from error
    try:
        yield
    finally:
        lock.release()
