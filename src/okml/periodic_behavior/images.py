"""Images and labels as tensors: Fashion-MNIST, and CIFAR at full scale."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from okml.data import fetch, fetched_from
from okml.errors import DataError
from okml.ledger import DataUsed
from okml.periodic_behavior.settings import ProblemSettings

CLASSES = {"fashion_mnist": 10, "cifar10": 10, "cifar100": 100}
CHANNELS = {"fashion_mnist": 1, "cifar10": 3, "cifar100": 3}
SIDE = 32  # of CIFAR, and of Fashion-MNIST with a frame of two pixels
# Members of the archives of CIFAR, and the bytes of labels before each image.
MEMBERS = {
    "cifar10": ([f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)], 1),
    "cifar100": (["cifar-100-binary/train.bin"], 2),  # coarse and fine
}


class Images(NamedTuple):
    """A training set: normalized pixels ``[n, channels, side, side]`` and labels ``[n]``."""

    pixels: Tensor
    labels: Tensor
    used: dict[str, DataUsed]


def load(problem: ProblemSettings) -> Images:
    """Return the training images of a problem, each channel with mean 0 and deviation 1.

    Raises:
        DataError: If the files hold fewer images, or are damaged.
    """
    name, count = problem.images, problem.examples
    paths = fetch(name)
    if name == "fashion_mnist":
        bytes_, labels = _fashion(paths, count)
    else:
        (path,) = paths.values()
        bytes_, labels = _cifar(path, *MEMBERS[name], count)
    if len(labels) < count or len(bytes_) < count:
        raise DataError(f"{name} holds {len(labels):,} training images, not {count:,}.")
    pixels = torch.from_numpy(bytes_.astype(np.float32))
    frame = (SIDE - pixels.shape[-1]) // 2
    pixels = functional.avg_pool2d(functional.pad(pixels, (frame,) * 4), SIDE // problem.side)
    deviation, mean = torch.std_mean(pixels, dim=(0, 2, 3), keepdim=True)
    used = {
        f"{name}/{file}": DataUsed(source=origin.source, sha256=origin.sha256)
        for file, origin in fetched_from(name).items()
    }
    return Images((pixels - mean) / deviation, torch.from_numpy(labels.astype(np.int64)), used)


def _fashion(paths: dict[str, Path], count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the first images ``[n, 1, 28, 28]`` and labels ``[n]`` of the IDX files."""
    with gzip.open(paths["train-images-idx3-ubyte.gz"]) as file:
        pixels = np.frombuffer(file.read(16 + 784 * count), np.uint8, offset=16)
    with gzip.open(paths["train-labels-idx1-ubyte.gz"]) as file:
        labels = np.frombuffer(file.read(8 + count), np.uint8, offset=8)
    return pixels[: len(pixels) // 784 * 784].reshape(-1, 1, 28, 28), labels


def _cifar(
    archive: Path, members: list[str], label_bytes: int, count: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the first images ``[n, 3, 32, 32]`` and labels ``[n]`` of the binary version."""
    width = label_bytes + 3 * SIDE * SIDE
    content = b""
    with tarfile.open(archive) as files:
        for member in members:
            if len(content) < count * width:
                file = files.extractfile(member)
                content += file.read() if file is not None else b""
    rows = np.frombuffer(content[: count * width], np.uint8)
    rows = rows[: len(rows) // width * width].reshape(-1, width)
    return rows[:, label_bytes:].reshape(-1, 3, SIDE, SIDE), rows[:, label_bytes - 1]
