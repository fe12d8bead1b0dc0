"""Content hashes, and stamps on disk that cache them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from okml.paths import atomic_write

Algorithm = Literal["sha256", "git_blob", "md5"]


@dataclass(frozen=True)
class ContentHash:
    """A content hash and its algorithm."""

    algorithm: Algorithm
    value: str  # lower-case hex

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"


@dataclass(frozen=True)
class Expected:
    """A file with its expected hash and size."""

    name: str
    digest: ContentHash
    bytes: int | None


def digest_of(path: Path, algorithm: Algorithm) -> ContentHash:
    """Hash a file with SHA-256, as a Git blob, or with MD5.

    Git hashes a blob as SHA-1 over ``blob <size>``, a zero byte and the content. It verifies files
    without a published SHA-256 whose commit is known. MD5 detects damage but not malice; it serves
    data with no other published hash.
    """
    if algorithm == "sha256":
        hasher = hashlib.sha256()
    elif algorithm == "md5":
        hasher = hashlib.md5(usedforsecurity=False)
    else:
        hasher = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as handle:
        hashlib.file_digest(handle, lambda: hasher)
    return ContentHash(algorithm, hasher.hexdigest())


def verified_digest(path: Path, expected: ContentHash, cache: Path) -> ContentHash:
    """Return the digest of ``path``, from its stamp while size and time are unchanged.

    Only a digest that matched ``expected`` leaves a stamp, always in ``cache``, the writable
    folder, also for files in read-only folders. If ``cache`` is not writable, each call hashes
    again.
    """
    stamp = _stamp_path(cache, path, expected)
    if _read_stamp(stamp) == _facts(path, expected):
        return expected
    found = digest_of(path, expected.algorithm)
    if found == expected:
        remember(path, expected, cache)
    return found


def content_digest(path: Path, cache: Path) -> ContentHash:
    """Return the SHA-256 of ``path`` without an expectation; from its stamp if that is valid."""
    stamp = _read_stamp(_stamp_path(cache, path, ContentHash("sha256", "")))
    if isinstance(stamp, dict):
        stamped = ContentHash("sha256", str(stamp.get("digest")).removeprefix("sha256:"))
        if stamp == _facts(path, stamped):
            return stamped
    found = digest_of(path, "sha256")
    remember(path, found, cache)
    return found


def remember(path: Path, digest: ContentHash, cache: Path) -> None:
    """Write a stamp which states that ``path`` has ``digest``."""
    with contextlib.suppress(OSError), atomic_write(_stamp_path(cache, path, digest)) as handle:
        json.dump(_facts(path, digest), handle)


def _facts(path: Path, digest: ContentHash) -> dict[str, str | int]:
    status = path.stat()
    return {
        "path": str(path),
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "digest": str(digest),
    }


def _stamp_path(cache: Path, path: Path, digest: ContentHash) -> Path:
    key = hashlib.sha256(f"{path}\0{digest.algorithm}".encode()).hexdigest()
    return cache / ".stamps" / f"{key[:32]}.json"


def _read_stamp(stamp: Path) -> object:
    try:
        return json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
