"""Fetching the files of a catalog entry, from the data folders or from its sources in order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from okml.clock import now
from okml.data.by_hand import UNVOUCHED
from okml.data.cache import (
    Note,
    cached,
    exclusive,
    expected,
    noted_folder,
    publish,
    read_notes,
    repair_command,
    write_notes,
)
from okml.data.catalog import AnySource, CatalogEntry, File, entry
from okml.data.digests import digest_of, remember
from okml.data.errors import SourceError
from okml.data.hub import HubCommit, download_snapshot, resolve
from okml.data.progress import human_bytes
from okml.data.sources import HttpsSource
from okml.errors import DataError, ResourceError
from okml.paths import data_roots

DISK_MARGIN = 50_000_000  # bytes of disk to leave free

Failures = dict[str, list[tuple[str, str]]]  # file -> (source, reason of failure), in order


def fetch(name: str, files: Iterable[str] | None = None, *, force: bool = False) -> dict[str, Path]:
    """Return verified paths of an entry's files by file name, downloading missing ones.

    Args:
        name: The entry, as ``catalog()`` names it.
        files: Names of some of its files; None for all. A snapshot is always fetched whole.
        force: Whether to fetch damaged files again instead of raising.

    Raises:
        ParameterError: If the catalog has no such entry or the entry no such file.
        DataError: If a file is damaged, gated, or cannot be had, or a person has to fetch it; the
            message says what to do.
        ResourceError: If the disk is too full.
    """
    roots = data_roots()
    if name in UNVOUCHED:
        by_hand = UNVOUCHED[name]
        raise DataError(
            f"{name} can only be fetched by hand.",
            f"Get {', '.join(names[0] for names in by_hand.files)} from {by_hand.url} and put them "
            f"into {roots[0] / name}.",
        )
    found = entry(name)
    if found.snapshot is not None:
        return _fetch_snapshot(found, roots, force)
    wanted = found.select(None if files is None else list(files))
    paths, missing = _look(found, wanted, roots, force)
    if not missing:
        return paths
    _require_leave_to_go_out(found, [file.name for file in missing], roots[0])
    with exclusive(found.name, roots[0]):
        # Another process may have brought them while this one waited.
        paths, missing = _look(found, wanted, roots, force)
        if missing:
            paths |= _obtain_all(found, missing, roots[0])
    return {file.name: paths[file.name] for file in wanted}


def check_obtainable(name: str) -> None:
    """Raise the errors of :func:`fetch` that precede a download; download nothing.

    Args:
        name: The entry, as ``catalog()`` names it.

    Raises:
        ParameterError: If the catalog has no such entry.
        DataError: If a file is damaged, or missing while the network is off or the terms are not
            accepted.
    """
    found, roots = entry(name), data_roots()
    if found.snapshot is not None:
        here = noted_folder(found.folder, roots, repair_command(name))
        missing = [] if here else ["the model"]
    else:
        missing = [file.name for file in _look(found, found.files, roots, force=False)[1]]
    if missing:
        _require_leave_to_go_out(found, missing, roots[0])


def _look(
    found: CatalogEntry, wanted: Iterable[File], roots: list[Path], force: bool
) -> tuple[dict[str, Path], list[File]]:
    paths, missing = {}, []
    for file in wanted:
        path = cached(
            found.folder, expected(file), roots, repair_command(found.name), past_damage=force
        )
        if path is None:
            missing.append(file)
        else:
            paths[file.name] = path
    return paths, missing


def _obtain_all(found: CatalogEntry, missing: list[File], cache: Path) -> dict[str, Path]:
    folder = cache / found.folder
    work = cache / ".work" / found.name
    shutil.rmtree(work, ignore_errors=True)  # left by a killed process
    work.mkdir(parents=True)
    paths: dict[str, Path] = {}
    failures: Failures = {}
    unreachable: dict[int, str] = {}
    try:
        for file in missing:
            reasons: list[tuple[str, str]] = []
            for source in file.sources or found.sources:
                try:
                    if id(source) in unreachable:
                        raise SourceError(unreachable[id(source)])
                    paths[file.name] = _obtain(file, source, folder, work, cache)
                    break
                except SourceError as error:
                    if error.unreachable:
                        unreachable[id(source)] = error.reason
                    reasons.append((source.describe(file.name), error.reason))
                except OSError as error:  # a disk that filled up on the way, for one
                    reasons.append((source.describe(file.name), str(error)))
            else:
                failures[file.name] = reasons
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if failures:
        raise _cannot_be_had(found, failures, cache)
    return paths


def _obtain(file: File, source: AnySource, folder: Path, work: Path, cache: Path) -> Path:
    """Fetch one file from one source, verify it, and move it to its place."""
    target = folder / file.name
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    here = part.stat().st_size if part.exists() else 0
    _require_disk(cache, max((file.bytes or 0) - here, 0) + source.extra_bytes())
    served = source.obtain(file.name, file.bytes, part, work)
    content = digest_of(part, file.digest.algorithm)
    if content != file.digest and here and isinstance(source, HttpsSource):
        part.unlink()  # the partial file of an earlier call was of another version: start over
        served = source.obtain(file.name, file.bytes, part, work)
        content = digest_of(part, file.digest.algorithm)
    if content != file.digest:
        part.unlink()
        raise SourceError(f"it served {content}, expected {file.digest}")
    size = part.stat().st_size
    publish(part, target, file.digest, cache)
    note = Note(source=served, digest=str(file.digest), bytes=size, fetched=now())
    write_notes(folder, {**read_notes(folder), file.name: note})
    return target


def _fetch_snapshot(found: CatalogEntry, roots: list[Path], force: bool) -> dict[str, Path]:
    repair = repair_command(found.name)
    if paths := noted_folder(found.folder, roots, repair, past_damage=force):
        return paths
    _require_leave_to_go_out(found, ["the model"], roots[0])
    with exclusive(found.name, roots[0]):
        if paths := noted_folder(found.folder, roots, repair, past_damage=force):
            return paths
        assert found.snapshot is not None
        try:
            _bring_snapshot(found, resolve(found.snapshot), roots[0])
        except SourceError as error:
            source = f"hub:{found.snapshot.repo}@{found.snapshot.revision}"
            failures = {"the model": [(source, error.reason)]}
            raise _cannot_be_had(found, failures, roots[0]) from error
    return noted_folder(found.folder, roots, repair, past_damage=force)


def _bring_snapshot(found: CatalogEntry, snapshot: HubCommit, cache: Path) -> None:
    folder = cache / found.folder
    part = folder.with_name(folder.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    for file in snapshot.files:  # keep the intact files of a damaged snapshot
        if (folder / file.name).is_file() and not (part / file.name).exists():
            (part / file.name).parent.mkdir(parents=True, exist_ok=True)
            (part / file.name).hardlink_to(folder / file.name)
    here = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
    _require_disk(cache, max(snapshot.size - here, 0))
    download_snapshot(snapshot, part)
    write_notes(
        part,
        {
            file.name: Note(
                source=snapshot.describe(),
                digest=str(file.digest),
                bytes=file.bytes or 0,
                fetched=now(),
            )
            for file in snapshot.files
        },
    )
    if folder.exists():
        shutil.rmtree(folder)
    part.replace(folder)
    for file in snapshot.files:
        remember(folder / file.name, file.digest, cache)


def _require_leave_to_go_out(found: CatalogEntry, missing: list[str], cache: Path) -> None:
    """Raise unless the network is on and the license, where it requires that, is accepted."""
    if os.environ.get("OKML_OFFLINE", "0") not in ("", "0"):
        raise DataError(
            f"{found.name}: {_some(missing)} ({human_bytes(found.bytes)} in all) missing from the "
            "data folders, and going out is off (OKML_OFFLINE).",
            f"Run `okml data fetch {found.name}` with OKML_OFFLINE unset, or copy the files to "
            f"{cache / found.folder}.",
        )
    accepted = os.environ.get("OKML_ACCEPT", "").replace(" ", "").split(",")
    terms = found.license
    if terms.accept and terms.id not in accepted:
        raise DataError(
            f"{found.name} ({human_bytes(found.bytes)}) comes under terms that you must accept "
            f"first: {terms.url}",
            f"If you do, run: OKML_ACCEPT={terms.id} okml data fetch {found.name}",
        )


def _require_disk(cache: Path, needed: int) -> None:
    free = shutil.disk_usage(cache).free
    if needed + DISK_MARGIN > free:
        raise ResourceError(
            f"{cache} has {human_bytes(free)} free; the download needs {human_bytes(needed)}.",
            "Free some space, or name a folder on a larger disk first in OKML_DATA.",
        )


def _cannot_be_had(found: CatalogEntry, failures: Failures, cache: Path) -> DataError:
    first = next(iter(failures))
    reasons = "\n".join(f"  - {source}: {reason}" for source, reason in failures[first])
    return DataError(
        f"{found.name}: {_some(list(failures))} cannot be had "
        f"({human_bytes(found.bytes)} in all). Tried for {first}:\n{reasons}",
        f"Try again: okml data fetch {found.name}\n{_by_hand(found, cache)}",
    )


def _by_hand(found: CatalogEntry, cache: Path) -> str:
    if found.snapshot is not None:
        return (
            f"By hand: hf download {found.snapshot.repo} --local-dir FOLDER, on any machine, "
            f"and name that folder instead of {found.name}."
        )
    return (
        f"By hand: get the files from {found.origin} and put them into {cache / found.folder}; "
        "they are verified when they are used."
    )


def _some(names: list[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")
