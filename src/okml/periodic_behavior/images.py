"""Images and labels as tensors: Fashion-MNIST, and CIFAR at full scale."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from okml.data import fetch, fetched_from
from okml.data.images import read_cifar, read_idx
from okml.errors import DataError
from okml.ledger import DataUsed
from okml.periodic_behavior.settings import ProblemSettings

CLASSES = {"fashion_mnist": 10, "cifar10": 10, "cifar100": 100}
CHANNELS = {"fashion_mnist": 1, "cifar10": 3, "cifar100": 3}
SIDE = 32  # pixels of CIFAR's side, and of Fashion-MNIST's with a frame of two pixels


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
        images = read_idx(paths["train-images-idx3-ubyte.gz"])[:, None]  # [n, 1, 28, 28]
        labels = read_idx(paths["train-labels-idx1-ubyte.gz"])
    else:
        (path,) = paths.values()
        images, labels = read_cifar(path, name)
    if min(len(images), len(labels)) < count:
        raise DataError(f"{name} holds {len(labels):,} training images, not {count:,}.")
    images, labels = images[:count], labels[:count]
    pixels = torch.from_numpy(images.astype(np.float32))
    frame = (SIDE - pixels.shape[-1]) // 2
    pixels = functional.avg_pool2d(functional.pad(pixels, (frame,) * 4), SIDE // problem.side)
    deviation, mean = torch.std_mean(pixels, dim=(0, 2, 3), keepdim=True)
    used = {
        f"{name}/{file}": DataUsed(source=origin.source, sha256=origin.sha256)
        for file, origin in fetched_from(name).items()
    }
    return Images((pixels - mean) / deviation, torch.from_numpy(labels.astype(np.int64)), used)
