"""The chapter's gpu profile at tiny sizes, on files in the formats of CIFAR's archives."""

from __future__ import annotations

from typing import Any

from okml.periodic_behavior.config import PROFILES
from okml.periodic_behavior.settings import PeriodicBehaviorProfile
from tests.device import DEVICE
from tests.tools.image_files import cifar
from tests.tools.own_data import OwnData

SIZES: dict[str, Any] = {
    "channels": 1, "epochs": 3, "examples": 10, "batch": 5,
}  # fmt: skip


def tiny(**changes: Any) -> PeriodicBehaviorProfile:
    """Return the gpu profile with few images, channels and epochs."""
    profile = PROFILES["gpu"]
    small = {f"problems.{n}.{k}": v for n in range(len(profile.problems)) for k, v in SIZES.items()}
    return profile.override({**small, "seeds": [0, 1], "device": DEVICE, **changes})


def put_images(data: OwnData) -> None:
    """Put the tiny archives where the true ones would be."""
    data.files("cifar10", {"cifar-10-binary.tar.gz": cifar("cifar10")[0]})
    data.files("cifar100", {"cifar-100-binary.tar.gz": cifar("cifar100")[0]})
