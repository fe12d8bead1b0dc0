"""Small image files in their published formats, and archives."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping

import numpy as np

from okml.data.images import CIFAR


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """Return a compressed tar archive of files by name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def idx(array: np.ndarray) -> bytes:
    """Return bytes of any shape as a compressed IDX file."""
    head = bytes([0, 0, 8, array.ndim]) + b"".join(
        int(size).to_bytes(4, "big") for size in array.shape
    )
    return gzip.compress(head + array.tobytes())


def cifar(name: str, each: int = 4) -> tuple[bytes, np.ndarray]:
    """Return an archive of random images, and its records ``[members · each, bytes]``."""
    members, label_bytes = CIFAR[name]
    rng, rows = np.random.default_rng(0), []
    many = each if len(members) > 1 else 5 * each
    for _ in members:
        labels = rng.integers(0, 10, (many, label_bytes), dtype=np.uint8)
        pixels = rng.integers(0, 256, (many, 3 * 32 * 32), dtype=np.uint8)
        rows.append(np.concatenate([labels, pixels], 1))
    files = {name: records.tobytes() for name, records in zip(members, rows, strict=True)}
    return tar_of(files), np.concatenate(rows)
