from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from okml import plan as plan_module
from okml.plan import Item, Plan, fits_budget
from okml.profile import Budget, Profile

GIB = 2**30


def made(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "chapter": "space_time",
        "profile": "gpu",
        "gpu_memory_gib": 40.0,
        "memory_gib": 50.0,
        "disk_gib": 200.0,
        "hours": 2.0,
        "items": (Item(what="weights", value=1.0, unit="GiB", follows_from="1 · 1"),),
        "data": ("a",),
    }
    return Plan(**{**values, **changes})


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 GiB of memory, GPUs of 24 and 48 GiB, 300 GiB of free disk."""
    gpus = (SimpleNamespace(memory_gib=24.0), SimpleNamespace(memory_gib=48.0))
    monkeypatch.setattr(
        plan_module, "environment", lambda: SimpleNamespace(memory_gib=64.0, gpus=gpus)
    )
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda folder: SimpleNamespace(free=300 * GIB if folder.exists() else 0),
    )


@pytest.mark.usefixtures("machine")
def test_what_fits_lacks_nothing(tmp_path: Path) -> None:
    assert made().shortfalls(tmp_path) == []


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"memory_gib": 70.0}, "memory: 70.0 GiB needed, 64.0 GiB here"),
        ({"disk_gib": 301.0}, "free disk: 301.0 GiB needed, 300.0 GiB here"),
        # The two GPUs do not add up: one has to hold it.
        ({"gpu_memory_gib": 60.0}, "memory of one GPU: 60.0 GiB needed, 48.0 GiB here"),
    ],
)
def test_what_is_lacking_is_named(tmp_path: Path, change: dict[str, float], sentence: str) -> None:
    assert made(**change).shortfalls(tmp_path) == [sentence]


@pytest.mark.usefixtures("machine")
def test_a_folder_that_is_not_there_yet_is_on_its_parent_disk(tmp_path: Path) -> None:
    assert made().shortfalls(tmp_path / "not" / "here" / "yet") == []


def test_a_machine_without_gpu_has_no_gpu_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        plan_module, "environment", lambda: SimpleNamespace(memory_gib=1e6, gpus=())
    )
    assert made(disk_gib=0.0).shortfalls(tmp_path) == [
        "memory of one GPU: 40.0 GiB needed, 0.0 GiB here"
    ]


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"hours": 2.01}, False),
        ({"memory_gib": 50.1}, False),
        ({"disk_gib": 201.0}, False),
        ({"gpu_memory_gib": 41.0}, False),
    ],
)
def test_a_budget_bounds_every_quantity(
    profile: Profile, change: dict[str, float], fits: bool
) -> None:
    budget = Budget(minutes=120, memory_gib=50, disk_gib=200, gpu_memory_gib=40)
    stated = profile.model_copy(update={"budget": budget})
    assert fits_budget(made(**change), stated) is fits
