"""The paths of the repository, build products, recorded results and the data cache."""

from __future__ import annotations

import ctypes
import glob
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pooch
import psutil

from okml.errors import ParameterError


def is_folder(name: str) -> bool:
    """Tell whether a text is the path of an existing folder."""
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):  # not a valid path
        return False


def repository_root() -> Path:
    """Return the folder that holds ``_toc.yml``: ``OKML_ROOT``, or the nearest one upwards.

    The working directory is searched first, then the folder of this package, so that both a
    notebook started anywhere in a checkout and an editable install find it.

    Raises:
        ParameterError: If neither lies in a checkout, or ``OKML_ROOT`` is no folder.
    """
    if root := os.environ.get("OKML_ROOT"):
        if not is_folder(root):
            raise ParameterError(f"OKML_ROOT={root} is no folder.", "Name a checkout of okml.")
        return Path(root).resolve()
    for start in (Path.cwd(), Path(__file__)):
        for folder in (start, *start.resolve().parents):
            if (folder / "_toc.yml").is_file() and (folder / "src" / "okml").is_dir():
                return folder.resolve()
    raise ParameterError(
        "No okml checkout found here.", "Run inside a clone of the repository, or set OKML_ROOT."
    )


def build_dir() -> Path:
    """Return the folder of build products."""
    return repository_root() / "_build"


def results_dir() -> Path:
    """Return the folder of the recorded runs that the site shows."""
    return repository_root() / "results"


def data_roots() -> list[Path]:
    """Return the data folders: the writable cache, then read-only ones.

    ``OKML_DATA`` is a list like ``PATH``. The default is the user's cache folder.

    Raises:
        ParameterError: If ``OKML_DATA`` names no folder.
    """
    value = os.environ.get("OKML_DATA")
    if not value:
        return [Path(pooch.os_cache("okml"))]
    try:
        roots = [Path(part).expanduser().resolve() for part in value.split(os.pathsep) if part]
        # A path that is a link after it was resolved is one of a loop, which Python 3.13 lets pass.
        files = [r for r in roots if r.is_symlink() or (r.exists() and not r.is_dir())]
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, or an unknown home
        raise ParameterError(f"OKML_DATA={value} names no folder: {error}.") from None
    if not roots or files:
        raise ParameterError(
            f"OKML_DATA={value} names no folder.",
            f"Name one or more, separated by {os.pathsep!r}, or unset it.",
        )
    return roots


def writable(folder: Path) -> Path:
    """Return a folder after creating it if necessary and checking that it is writable.

    Raises:
        ParameterError: If nothing can be written to it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise ParameterError(
            f"Nothing can be written to {folder} ({error.strerror}).", "Name another folder."
        ) from None


def exchange(one: Path, other: Path) -> bool:
    """Exchange two folders atomically; return False, without effect, if that is unsupported."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), swap) == 0)


@contextmanager
def atomic_write(path: Path, mode: str = "w", lasting: bool = True) -> Iterator[IO[Any]]:
    """Open a temporary file beside ``path`` and rename it to ``path`` on success.

    Readers see the old file or the new one, never a partial one; an error leaves the old one.

    Args:
        path: The file to write.
        mode: The mode to open it in.
        lasting: Whether it is on disk at the end, as it must be to outlive a machine that fails;
            what is built anew in that case need not be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in left_unfinished(path):
        left.unlink(missing_ok=True)
    encoding = None if "b" in mode else "utf-8"
    with tempfile.NamedTemporaryFile(
        mode, encoding=encoding, dir=path.parent, prefix=unfinished(path), delete=False
    ) as handle:
        try:
            yield handle
            handle.flush()
            if lasting:
                os.fsync(handle.fileno())
        except BaseException:
            Path(handle.name).unlink(missing_ok=True)
            raise
    # NamedTemporaryFile makes files private; set the permissions that `open` would.
    umask = os.umask(0)
    os.umask(umask)
    Path(handle.name).chmod(0o666 & ~umask)
    Path(handle.name).replace(path)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries, the names of its files, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def unfinished(path: Path) -> str:
    """Return the prefix of the names of this process's unfinished versions of a path."""
    return f"{_of_this_machine(path)}{os.getpid()}."


def left_unfinished(path: Path) -> Iterator[Path]:
    """Yield the unfinished versions of a path left by dead processes of this machine."""
    start = _of_this_machine(path)
    for left in path.parent.glob(f"{glob.escape(start)}*"):
        process = left.name.removeprefix(start).partition(".")[0]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            yield left


def _of_this_machine(path: Path) -> str:
    return f".{path.name}.{socket.gethostname()}-"
