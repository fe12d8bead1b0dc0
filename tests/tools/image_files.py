"""Small image files in their published formats."""

from __future__ import annotations

import gzip
import io
import tarfile

import numpy as np

from okml.data.images import CIFAR


def idx(array: np.ndarray) -> bytes:
    """Return bytes of any shape as a compressed IDX file."""
    head = bytes([0, 0, 8, array.ndim]) + b"".join(
        int(size).to_bytes(4, "big") for size in array.shape
    )
    return gzip.compress(head + array.tobytes())


def cifar(name: str, each: int = 4) -> tuple[bytes, np.ndarray]:
    """Return an archive of random images, and its records ``[members · each, bytes]``."""
    members, label_bytes = CIFAR[name]
    rng, buffer, rows = np.random.default_rng(0), io.BytesIO(), []
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for member in members:
            many = each if len(members) > 1 else 5 * each
            labels = rng.integers(0, 10, (many, label_bytes), dtype=np.uint8)
            pixels = rng.integers(0, 256, (many, 3 * 32 * 32), dtype=np.uint8)
            rows.append(np.concatenate([labels, pixels], 1))
            info = tarfile.TarInfo(member)
            info.size = rows[-1].size
            file.addfile(info, io.BytesIO(rows[-1].tobytes()))
    return buffer.getvalue(), np.concatenate(rows)
