"""Results on disk, written atomically and verified by checksums.

``steps/quality/3f9a…/`` holds the result of the step ``quality`` for one set of dependencies: its
frames, and ``step.json`` with all other values, the frames' checksums and one of itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from okml.kept.needs import Needs
from okml.paths import left_unfinished, sync_folder, unfinished
from okml.profile import canonical_hash
from okml.settings import Frozen

LISTING = "step.json"
UNFINISHED = "unfinished"  # part of the hidden names of folders being written or removed
NEWEST = 3  # number of results of a step to keep, so that one can go back to earlier code


@dataclass(frozen=True)
class KeptResult:
    """A result that was read from disk.

    Attributes:
        needs: The dependencies of the result.
        content: The values that JSON can hold, by name.
        frames: The tables by name.
        adopted: The functions and libraries that differ from the code that computed the result.
    """

    needs: Needs
    content: dict[str, Any]
    frames: dict[str, pl.DataFrame]
    adopted: tuple[str, ...]


class _Listing(Frozen):
    needs: Needs
    content: dict[str, Any]
    frames: dict[str, str]  # SHA-256 by name
    adopted: tuple[str, ...]
    sha256: str  # hash of all other fields


class DamagedError(Exception):
    """A kept result differs from the one that was written."""


def save(
    folder: Path,
    needs: Needs,
    content: Mapping[str, Any],
    frames: Mapping[str, pl.DataFrame],
    adopted: tuple[str, ...] = (),
) -> KeptResult:
    """Keep a result: write a temporary folder and rename it once all of it is on disk.

    Args:
        folder: The folder of the step.
        needs: The dependencies of the result.
        content: The values that JSON can hold, by name.
        frames: The tables by name.
        adopted: The functions and libraries that differ from the code that computed the result.

    Returns:
        The result as read back from disk, so that an interrupted run continues with equal values.
    """
    draft = _new_name(folder)
    draft.mkdir(parents=True)
    sums = {name: _write_frame(draft / f"{name}.parquet", frame) for name, frame in frames.items()}
    listing = {
        "needs": needs.model_dump(mode="json"),
        "content": dict(content),
        "frames": sums,
        "adopted": list(adopted),
    }
    text = json.dumps({**listing, "sha256": canonical_hash(listing)}, ensure_ascii=False, indent=1)
    _write(draft / LISTING, text.encode())
    sync_folder(draft)
    _put(draft, folder / needs.folder_name)
    _remove_old(folder, folder / needs.folder_name)
    return read_result(folder / needs.folder_name)


def _put(draft: Path, final: Path) -> None:
    """Rename a finished folder; one that has its name is damaged or another process's."""
    doomed = _new_name(final.parent)
    if final.exists():
        final.replace(doomed)
    try:
        draft.replace(final)
    except OSError:
        if not final.is_dir():
            raise
        shutil.rmtree(draft)  # another process has kept the same in the meantime
    sync_folder(final.parent)
    shutil.rmtree(doomed, ignore_errors=True)


def _write_frame(path: Path, frame: pl.DataFrame) -> str:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return _write(path, buffer.getvalue())


def _write(path: Path, content: bytes) -> str:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()


def _new_name(folder: Path) -> Path:
    return folder / f"{unfinished(folder / UNFINISHED)}{uuid.uuid4().hex}"


def _remove_old(folder: Path, latest: Path) -> None:
    """Remove all but the newest results, and the unfinished folders of killed processes."""
    whole = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    results = sorted((path for path in whole if path != latest), key=_made, reverse=True)
    for path in (*results[NEWEST - 1 :], *left_unfinished(folder / UNFINISHED)):
        shutil.rmtree(path, ignore_errors=True)


def _made(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process removes it, too
        return math.inf


def load(folder: Path, needs: Needs) -> KeptResult | None:
    """Return the result that is kept for these needs; None if it is missing or damaged.

    Damage is printed in one line, since the result is then computed again.
    """
    final = folder / needs.folder_name
    if not final.is_dir():
        return None
    try:
        kept = read_result(final)
        if kept.needs != needs:
            raise DamagedError(f"{LISTING} is that of another result")
    except DamagedError as damage:
        print(f"kept: {folder.name} is computed again: {damage} in {final}", flush=True)
        return None
    return kept


def read_result(place: Path) -> KeptResult:
    """Read a result from its folder, and verify it.

    Raises:
        DamagedError: If its content differs from the one that was written.
    """
    try:
        values = json.loads((place / LISTING).read_text(encoding="utf-8"))
        listing = _Listing.model_validate(values)
        if listing.sha256 != canonical_hash(
            {key: values[key] for key in values if key != "sha256"}
        ):
            raise DamagedError(f"{LISTING} was edited")
        frames = {name: _read_frame(place, name, sum_) for name, sum_ in listing.frames.items()}
    except FileNotFoundError as error:
        raise DamagedError(f"{Path(error.filename).name} is missing") from None
    except (ValueError, TypeError):  # no JSON, other characters, or other fields
        raise DamagedError(f"{LISTING} is cut or was edited") from None
    return KeptResult(listing.needs, listing.content, frames, listing.adopted)


def _read_frame(place: Path, name: str, expected: str) -> pl.DataFrame:
    content = (place / f"{name}.parquet").read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise DamagedError(f"{name}.parquet is cut or was edited")
    return pl.read_parquet(io.BytesIO(content))
