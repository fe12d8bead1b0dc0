"""Shared fixtures: a small profile, and markers that skip with a reason."""

from __future__ import annotations

import os
from typing import ClassVar

import pytest
import torch

from okml.profile import Budget, Profile
from okml.runtime import total_memory_gib, usable_cores

GIB_A_WORKER = 3  # what the largest tests take

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the workers of ``-n auto``: one a core this process may use; of one, none."""
    workers = min(usable_cores(), int(total_memory_gib() // GIB_A_WORKER))
    return workers if workers > 1 else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):  # `keywords` has the names of parameters too
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


class TinyProfile(Profile):
    chapter: ClassVar[str] = "space_time"

    width: int = 8
    rate: float = 0.1
    layers: tuple[int, ...] = (1, 2)


@pytest.fixture
def profile() -> TinyProfile:
    budget = Budget(minutes=1, memory_gib=1, disk_gib=1)
    return TinyProfile(name="smoke", budget=budget, seeds=(0, 1))
