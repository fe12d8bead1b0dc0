from __future__ import annotations

from pathlib import Path

import pytest

from okml.chapters import CHAPTERS, Chapter
from okml.data import catalog
from okml.ledger import load_record, read_record
from okml.paths import results_dir
from okml.plan import (
    CPU_WORKERS,
    Item,
    Plan,
    over_budget,
    processes_gib,
    training_memory,
)
from okml.profile import Budget, Profile
from okml.training.recent import RECENT
from tests.plans import made

GIB = 2**30


@pytest.mark.parametrize("gpu_gib", [0, 80])
def test_a_plan_is_the_sum_of_its_items(profile: Profile, gpu_gib: float) -> None:
    def items(unit: str, *values: float) -> list[Item]:
        return [Item(what=f"{n}", value=n, unit=unit, follows_from="a test") for n in values]

    budget = profile.budget.model_copy(update={"gpu_memory_gib": gpu_gib})
    found = Plan.of(
        profile.model_copy(update={"budget": budget}),
        sizes=items("", 7), hours=items("h", 1, 0.5), device=items("GiB", 3, 4),
        disk=items("GiB", 5, 6), first=items("", 8), device_gib=4, memory_gib=5, data=["a"],
    )  # fmt: skip
    assert (found.hours, found.disk_gib, found.memory_gib) == (1.5, 11, 5)
    assert found.gpu_memory_gib == (4 if gpu_gib else 0)
    assert [item.value for item in found.items] == [7, 1, 0.5, 3, 4, 5, 6, 8]


def test_upper_bounds_of_the_disk_are_added_up_apart(profile: Profile) -> None:
    data = Item(what="data", value=2, unit="GiB", follows_from="a test")
    stored = Item(what="checkpoints", value=8, unit="GiB", follows_from="a test")
    found = Plan.of(
        profile, hours=[], device=[], disk=[data, stored.bounded(), stored], data=(),
    )  # fmt: skip
    assert (found.disk_gib, found.disk_bound_gib) == (18, 8)


def test_a_formula_names_what_its_amount_is_made_of() -> None:
    weights = Item.product("weights", bytes=16, parameters=2**26)
    assert (weights.value, weights.unit) == (1, "GiB")
    assert weights.follows_from == "16 bytes · 67,108,864 parameters"
    both = Item.sum("a checkpoint", weights=GIB, moments_of_Adam=2 * GIB)
    assert (both.value, both.follows_from) == (3, "1 GiB of weights + 2 GiB of moments of Adam")


def test_what_a_training_holds_by_hand() -> None:
    """A weight takes four bytes, and with its gradient and two moments sixteen."""
    sizes = {"parameters": GIB // 16, "finished": GIB // 4, "chunk": 2 * GIB}
    assert [item.value for item in training_memory(**sizes)] == [1, RECENT, 6]
    with_target = training_memory(**sizes | {"chunk": 1}, copies=5)
    assert [item.value for item in with_target] == [5 / 4, RECENT, 3 * 64 / 1024]


def test_on_a_cpu_each_worker_holds_a_training_and_on_a_card_the_card_does(
    profile: Profile,
) -> None:
    assert processes_gib(profile, 1.0) == processes_gib(profile, 0.0) + CPU_WORKERS
    budget = profile.budget.model_copy(update={"gpu_memory_gib": 80})
    on_card = profile.model_copy(update={"budget": budget})
    assert processes_gib(on_card, 1.0) == processes_gib(on_card, 0.0)


@pytest.mark.parametrize(
    ("change", "exceeded"),
    [
        ({}, []),
        ({"hours": 2.01}, ["120.6 minutes"]),
        ({"memory_gib": 50.1}, ["50.1 GiB of memory"]),
        ({"disk_gib": 201.0}, ["201.0 GiB of disk"]),
        ({"gpu_memory_gib": 41.0}, ["41.0 GiB of GPU memory"]),
        ({"hours": 3.0, "disk_gib": 201.0}, ["180.0 minutes", "201.0 GiB of disk"]),
    ],
)
def test_a_budget_bounds_every_quantity(
    profile: Profile, change: dict[str, float], exceeded: list[str]
) -> None:
    budget = Budget(minutes=120, memory_gib=50, disk_gib=200, gpu_memory_gib=40)
    stated = profile.model_copy(update={"budget": budget})
    found = over_budget(made(**change), stated)
    assert len(found) == len(exceeded)
    assert all(what in each for what, each in zip(exceeded, found, strict=True))


RECORDS = [path for name in CHAPTERS for path in sorted((results_dir() / name).glob("*.json"))]


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_plan_lists_the_data_that_a_recorded_run_has_read(path: Path) -> None:
    record, found = read_record(path), Chapter(path.parent.name)
    read = {name.partition("/")[0] for name in record.provenance.data} & catalog().keys()
    assert read <= {*found.plan(found.profile(record.profile)).data}


@pytest.mark.parametrize("name", CHAPTERS)
def test_planned_memory_is_what_a_recorded_run_took(name: str) -> None:
    record, profile = load_record(name, "cpu"), Chapter(name).profile("cpu")
    if record is None or record.settings_sha256 != profile.fingerprint():
        pytest.skip("no record has today's settings")
    planned = Chapter(name).plan(profile).memory_gib
    assert planned == pytest.approx(record.provenance.peak_memory_gib, rel=0.15)
