"""Extraction of single named files from published archives.

Packages serve as containers: nothing in them is installed, imported or run, and no other member
is written to disk.
"""

from __future__ import annotations

import lzma
import stat
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from okml.data.errors import SourceError

CHUNK = 1 << 20  # bytes copied at a time
# Errors of the standard library for a damaged archive, or one that it cannot read: an unknown
# method of compression, a password, a field that is no number.
UNREADABLE = (
    zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError,
    NotImplementedError, RuntimeError, ValueError, struct.error,
)  # fmt: skip


def is_safe_member(name: str) -> bool:
    """Tell whether a path inside an archive or a cache folder stays inside it."""
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts and "\\" not in name
    return bool(path.parts) and inside


def extract_zip_member(archive: Path, member: str, target: Path, size: int | None) -> None:
    """Write one member of a zip archive (a wheel is one) to ``target``.

    Args:
        archive: The zip archive.
        member: The member's path inside the archive.
        target: The file to write.
        size: The member's size in bytes if known; a longer member is refused as it is read.

    Raises:
        SourceError: If the member is missing, unsafe, not a regular file, or too long.
    """
    _refuse_unsafe(member)
    with _reading(archive), zipfile.ZipFile(archive) as opened:
        try:
            found = opened.getinfo(member)
        except KeyError as error:
            raise SourceError(f"no {member} in {archive.name}") from error
        mode = found.external_attr >> 16
        if found.is_dir() or (mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG)):
            raise SourceError(f"{member} is not a regular file in {archive.name}")
        with opened.open(found) as content:
            _copy([content], target, size)


def extract_tar_member(archive: Path, member: str, target: Path, size: int | None) -> None:
    """Write one member of a tar archive (an npm package is one) to ``target``.

    Arguments and errors are those of ``extract_zip_member``.
    """
    extract_tar_members(archive, {member: target}, size)


def extract_tar_members(
    archive: Path, targets: Mapping[str, Path], size: int | None = None
) -> None:
    """Write several members of a tar archive in one pass over it.

    Args:
        archive: The archive, compressed or not.
        targets: The file to write for each member's path inside.
        size: The size of each member in bytes if known; a longer one is refused as it is read.

    Raises:
        SourceError: If a member is missing, unsafe or not a regular file, or the archive damaged.
    """
    for member in targets:
        _refuse_unsafe(member)
    with _reading(archive), tarfile.open(archive) as opened:
        _copy_tar_members(opened, targets, size, archive.name)


def extract_deb_member(archive: Path, member: str, target: Path, size: int | None) -> None:
    """Write one member of a Debian package to ``target``.

    ``dpkg-deb`` unwraps the package to a tar stream, from which the one member is read. Arguments
    and errors are those of ``extract_zip_member``.
    """
    _refuse_unsafe(member)
    command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
    try:
        unwrap = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise SourceError("dpkg-deb is not on this machine", unreachable=True) from error
    with _reading(archive), unwrap:
        try:
            with tarfile.open(fileobj=unwrap.stdout, mode="r|") as opened:
                _copy_tar_members(opened, {member: target}, size, archive.name)
        finally:
            unwrap.kill()  # the rest of the stream is not needed


def join(parts: Iterable[Path], target: Path, size: int | None) -> None:
    """Write the bytes of ``parts``, one after the other, to ``target``."""
    handles = [part.open("rb") for part in parts]
    try:
        _copy(handles, target, size)
    finally:
        for handle in handles:
            handle.close()


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Name the archive in errors of its content; errors of the disk are not changed."""
    try:
        yield
    except (OSError, *UNREADABLE) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise SourceError(f"{archive.name} is damaged, or of another kind ({error})") from error


def _refuse_unsafe(member: str) -> None:
    if not is_safe_member(member):
        raise SourceError(f"{member!r} leads out of the archive")


def _copy_tar_members(
    opened: tarfile.TarFile, targets: Mapping[str, Path], size: int | None, archive: str
) -> None:
    # Packages use both "./usr/share/x" and "usr/share/x".
    wanted = {PurePosixPath(member): target for member, target in targets.items()}
    for found in opened:
        target = wanted.pop(PurePosixPath(found.name), None)
        if target is None:
            continue
        content = opened.extractfile(found) if found.isreg() else None
        if content is None:
            raise SourceError(f"{found.name} is not a regular file in {archive}")
        _copy([content], target, size)
        if not wanted:  # skip the rest, which may be most of the archive
            return
    raise SourceError(f"no {min(wanted)} in {archive}")


def _copy(contents: Iterable[IO[bytes]], target: Path, size: int | None) -> None:
    written = 0
    with target.open("wb") as out:
        for content in contents:
            while block := content.read(CHUNK):
                written += len(block)
                if size is not None and written > size:
                    raise SourceError(f"more than the expected {size:,} bytes")
                out.write(block)
