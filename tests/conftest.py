"""What the tests of okml share: a quiet environment and a small profile."""

from __future__ import annotations

import os
from typing import ClassVar

import pytest

from okml.profile import Budget, Profile

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class TinyProfile(Profile):
    chapter: ClassVar[str] = "space_time"

    width: int = 8
    rate: float = 0.1
    layers: tuple[int, ...] = (1, 2)


@pytest.fixture
def profile() -> TinyProfile:
    budget = Budget(minutes=1, memory_gib=1, disk_gib=1)
    return TinyProfile(name="smoke", budget=budget, seeds=(0, 1))
