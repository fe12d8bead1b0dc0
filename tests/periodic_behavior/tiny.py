"""The chapter's gpu profile at tiny sizes, and files in the formats of its image sets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from okml.periodic_behavior.config import PROFILES
from okml.periodic_behavior.settings import PeriodicBehaviorProfile
from tests.tools.image_files import cifar, idx
from tests.tools.own_data import OwnData

SIZES: dict[str, Any] = {
    "channels": 1, "epochs": 3, "examples": 10, "batch": 5,
}  # fmt: skip


def tiny(**changes: Any) -> PeriodicBehaviorProfile:
    """Return the gpu profile with few images, channels and epochs."""
    profile = PROFILES["gpu"]
    small = {f"problems.{n}.{k}": v for n in range(len(profile.problems)) for k, v in SIZES.items()}
    return profile.override({**small, "seeds": [0, 1], "device": "cpu", **changes})


def put_images(data: OwnData) -> None:
    """Put the tiny archives where the true ones would be."""
    data.files("cifar10", {"cifar-10-binary.tar.gz": cifar("cifar10")[0]})
    data.files("cifar100", {"cifar-100-binary.tar.gz": cifar("cifar100")[0]})


def put_fashion(data: OwnData, count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Put training images where the true ones of Fashion-MNIST would be; return them with labels.

    The pixels of an image count upwards.
    """
    pixels = np.arange(count * 784, dtype=np.uint64).astype(np.uint8).reshape(count, 28, 28)
    labels = (np.arange(count) % 10).astype(np.uint8)
    files = {"train-images-idx3-ubyte.gz": idx(pixels), "train-labels-idx1-ubyte.gz": idx(labels)}
    data.files("fashion_mnist", files)
    return pixels, labels
