"""What the tests of okml share: a quiet environment and a small profile."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings

from okml.profile import Budget, Profile
from tests.tools.own_data import OwnData

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# A property that fails does so within a few examples; a busy machine is no failure.
settings.register_profile("okml", settings.default, max_examples=30, deadline=None)
settings.load_profile("okml")


class TinyProfile(Profile):
    chapter: ClassVar[str] = "space_time"

    width: int = 8
    rate: float = 0.1
    layers: tuple[int, ...] = (1, 2)


@pytest.fixture
def profile() -> TinyProfile:
    budget = Budget(minutes=1, memory_gib=1, disk_gib=1)
    return TinyProfile(name="smoke", budget=budget, seeds=(0, 1))


@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnData:
    """An empty cache that takes tiny files under the names of true data sets and models."""
    return OwnData(tmp_path, monkeypatch)
