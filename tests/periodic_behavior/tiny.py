"""The chapter's gpu profile at tiny sizes, on files in the formats of CIFAR's archives."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import numpy as np

from okml.periodic_behavior.config import PROFILES
from okml.periodic_behavior.images import MEMBERS
from okml.periodic_behavior.settings import PeriodicBehaviorProfile
from tests.device import DEVICE
from tests.tools.own_data import OwnData

SIZES: dict[str, Any] = {
    "channels": 1, "epochs": 3, "examples": 10, "batch": 5,
}  # fmt: skip


def tiny(**changes: Any) -> PeriodicBehaviorProfile:
    """Return the gpu profile with few images, channels and epochs."""
    profile = PROFILES["gpu"]
    small = {f"problems.{n}.{k}": v for n in range(len(profile.problems)) for k, v in SIZES.items()}
    return profile.override({**small, "seeds": [0, 1], "device": DEVICE, **changes})


def archive(images: str, each: int = 4) -> tuple[bytes, np.ndarray]:
    """Return an archive of random images, and its records ``[members · each, bytes]``."""
    members, label_bytes = MEMBERS[images]
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


def put_images(data: OwnData) -> None:
    """Put the tiny archives where the true ones would be."""
    data.files("cifar10", {"cifar-10-binary.tar.gz": archive("cifar10")[0]})
    data.files("cifar100", {"cifar-100-binary.tar.gz": archive("cifar100")[0]})
