"""Content hashes, and the stamps that make a second look-up instant."""

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
class Digest:
    """A content hash and how it is made."""

    algorithm: Algorithm
    value: str  # lower-case hex

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"


def digest_of(path: Path, algorithm: Algorithm) -> Digest:
    """Hash a file: plain SHA-256, the id that Git gives its content, or plain MD5.

    Git hashes a blob as SHA-1 over ``blob <size>``, a zero byte and the content. That pins files
    whose SHA-256 nobody has published but whose commit is known. MD5 finds damage but not malice;
    it serves data whose publishers or users state nothing else.
    """
    if algorithm == "sha256":
        hasher = hashlib.sha256()
    elif algorithm == "md5":
        hasher = hashlib.md5(usedforsecurity=False)
    else:
        hasher = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as handle:
        hashlib.file_digest(handle, lambda: hasher)
    return Digest(algorithm, hasher.hexdigest())


def verified_digest(path: Path, expected: Digest, cache: Path) -> Digest:
    """Return the digest of ``path``, from its stamp while size and time are unchanged.

    Only a digest that matched ``expected`` leaves a stamp, and only in ``cache``, the writable
    folder, so read-only folders are remembered too. Where even that cannot be written to, every
    look-up hashes again.
    """
    stamp = _stamp_path(cache, path, expected)
    if _read_stamp(stamp) == _facts(path, expected):
        return expected
    found = digest_of(path, expected.algorithm)
    if found == expected:
        remember(path, expected, cache)
    return found


def content_digest(path: Path, cache: Path) -> Digest:
    """Return the SHA-256 of ``path``, whatever it should be; from its stamp like the above."""
    stamp = _read_stamp(_stamp_path(cache, path, Digest("sha256", "")))
    if isinstance(stamp, dict):
        stamped = Digest("sha256", str(stamp.get("digest")).removeprefix("sha256:"))
        if stamp == _facts(path, stamped):
            return stamped
    found = digest_of(path, "sha256")
    remember(path, found, cache)
    return found


def remember(path: Path, digest: Digest, cache: Path) -> None:
    """Leave a stamp that says ``path`` was just hashed and gave ``digest``."""
    with contextlib.suppress(OSError), atomic_write(_stamp_path(cache, path, digest)) as handle:
        json.dump(_facts(path, digest), handle)


def _facts(path: Path, digest: Digest) -> dict[str, str | int]:
    status = path.stat()
    return {
        "path": str(path),
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "digest": str(digest),
    }


def _stamp_path(cache: Path, path: Path, digest: Digest) -> Path:
    key = hashlib.sha256(f"{path}\0{digest.algorithm}".encode()).hexdigest()
    return cache / ".stamps" / f"{key[:32]}.json"


def _read_stamp(stamp: Path) -> object:
    try:
        return json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
