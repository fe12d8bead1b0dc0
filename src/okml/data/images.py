"""Readers of published image sets: IDX files (Fashion-MNIST) and the binary version of CIFAR."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from okml.data.archives import UNREADABLE
from okml.errors import DataError

UNSIGNED_BYTE = 8  # type code of the IDX format
CIFAR_SHAPE = (3, 32, 32)  # an image's channels, rows and columns
# The files of training images of each CIFAR, and the bytes of labels before each image.
CIFAR = {
    "cifar10": ([f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)], 1),
    "cifar100": (["cifar-100-binary/train.bin"], 2),  # coarse and fine
}


def read_idx(path: Path, sha256: str | None = None) -> NDArray[np.uint8]:
    """Read a compressed IDX file of bytes.

    Args:
        path: The gzip file.
        sha256: The checksum of the decompressed content; None to skip the check.

    Returns:
        The bytes, in the shape that the file states.

    Raises:
        DataError: If it is no such file or has other content.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, *UNREADABLE) as error:
        raise DataError(f"{path} is no complete gzip file: {error}.") from None
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{path} does not hold what its publisher released.")
    rank = content[3] if len(content) > 3 else 0
    if content[:3] != bytes((0, 0, UNSIGNED_BYTE)) or len(content) < 4 + 4 * rank:
        raise DataError(f"{path} is no IDX file of bytes.")
    shape = np.frombuffer(content, ">u4", count=rank, offset=4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    if values.size != shape.prod():
        raise DataError(f"{path} announces {shape.prod()} bytes and holds {values.size}.")
    return values.reshape(shape)


def read_cifar(path: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read the training images of a CIFAR archive.

    Args:
        path: The compressed archive of the binary version.
        name: A key of ``CIFAR``.

    Returns:
        Images ``[n, 3, 32, 32]`` and their labels ``[n]``, fine ones of CIFAR-100.

    Raises:
        DataError: If the archive is damaged, or lacks a file of training images.
    """
    members, label_bytes = CIFAR[name]
    content = b"".join(_members(path, members))
    width = label_bytes + int(np.prod(CIFAR_SHAPE))
    if len(content) % width:
        raise DataError(f"{path} holds {len(content)} bytes, no multiple of {width} an image.")
    rows = np.frombuffer(content, np.uint8).reshape(-1, width)
    return rows[:, label_bytes:].reshape(-1, *CIFAR_SHAPE), rows[:, label_bytes - 1]


def _members(path: Path, members: Sequence[str]) -> list[bytes]:
    contents = []
    try:
        with tarfile.open(path) as archive:
            for member in members:
                file = archive.extractfile(member)
                if file is None:
                    raise DataError(f"{member} in {path} is no file.")
                contents.append(file.read())
    except KeyError as error:
        raise DataError(f"{path} lacks a file: {error.args[0]}.") from None
    except (OSError, *UNREADABLE) as error:
        raise DataError(f"{path} is no complete archive: {error}.") from None
    return contents
