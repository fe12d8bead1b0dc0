from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from okml import plan as plan_module
from okml.chapters import CHAPTERS, Chapter
from okml.data import CatalogEntry, catalog
from okml.ledger import load_record, read_record
from okml.lightsage.datasets.coveo import COLUMNS, WHERE
from okml.paths import results_dir
from okml.plan import (
    CPU_WORKERS,
    Item,
    Plan,
    over_budget,
    processes_gib,
    product,
    summed,
    training_memory,
)
from okml.profile import Budget, Profile
from okml.runtime import on_one_disk
from okml.training.recent import RECENT

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
        "data": ("/a/folder/of/my/own",),
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
    assert made().shortfalls(tmp_path, tmp_path) == []


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
    assert made(**change).shortfalls(tmp_path, tmp_path) == [sentence]


@pytest.mark.usefixtures("machine")
def test_a_folder_that_is_not_there_yet_is_on_its_parent_disk(tmp_path: Path) -> None:
    later = tmp_path / "not" / "here" / "yet"
    assert made().shortfalls(later, later) == []


DATA = Item(what="data", value=3 / 4, unit="GiB", follows_from="three files", in_data_folder=True)
QUARTER = 2**28  # bytes: a quarter of a GiB, of which nothing is written


def sparse(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as handle:
        handle.truncate(size)


@pytest.fixture
def catalog_of_a(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data folder for the data set ``a``: three files, one of which is here."""
    file: dict[str, Any] = {"bytes": QUARTER, "sha256": "0" * 64}
    source = {"kind": "https", "url": "https://nowhere.example/{name}"}
    entry = CatalogEntry.model_validate(
        {
            "name": "a", "kind": "dataset", "title": "A", "citation": "a",
            "license": {"id": "x", "url": "https://nowhere.example", "redistribute": False},
            "origin": "https://nowhere.example", "sources": [source],
            "files": [{"name": name, **file} for name in "xyz"],
        }
    )  # fmt: skip
    monkeypatch.setattr("okml.data.inventory.catalog", lambda: {"a": entry})
    monkeypatch.setenv("OKML_DATA", str(tmp_path / "data"))
    sparse(tmp_path / "data" / "a" / "y", QUARTER)
    return tmp_path / "data"


def free(monkeypatch: pytest.MonkeyPatch, gib: float) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=gib * GIB))


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("gib", "fits"), [(4.25, True), (4.2, False)])
def test_files_and_trainings_that_are_here_are_not_counted_again(
    catalog_of_a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gib: float, fits: bool
) -> None:
    # 5 GiB in all; of data a quarter is here, of trainings two quarters are.
    for name in ("one", "two", "by other code"):
        sparse(tmp_path / "run" / name / "last.ckpt", QUARTER)
    free(monkeypatch, gib)
    plan = made(disk_gib=5.0, items=(DATA,), data=("a",))
    kept = [tmp_path / "run" / "one", tmp_path / "run" / "two"]
    assert (plan.shortfalls(catalog_of_a, tmp_path / "run", kept) == []) is fits


@pytest.mark.usefixtures("machine")
def test_two_file_systems_each_have_to_hold_their_part(
    catalog_of_a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "on_one_disk", lambda one, other: False)
    free(monkeypatch, 1.0)
    plan = made(disk_gib=5.0, items=(DATA,), data=("a",))
    # 0.5 GiB of data are still to come, and 4.25 GiB are written by the run.
    assert plan.shortfalls(catalog_of_a, tmp_path / "run") == [
        f"free disk for {tmp_path / 'run'}: 4.2 GiB needed, 1.0 GiB here"
    ]


def test_folders_below_one_are_on_its_disk_and_those_of_the_kernel_are_not(tmp_path: Path) -> None:
    assert on_one_disk(tmp_path / "a" / "b", tmp_path / "c")
    if Path("/proc/self").exists():
        assert not on_one_disk(tmp_path, Path("/proc/self"))


@pytest.mark.usefixtures("machine")
def test_data_that_a_person_has_to_fetch_are_missed_until_they_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OKML_DATA", str(tmp_path))
    plan = made(data=("coveo",))
    (lack,) = plan.shortfalls(tmp_path, tmp_path)
    assert lack == f"coveo, by hand: {WHERE} → {tmp_path / 'coveo'}"
    for file in COLUMNS:
        sparse(tmp_path / "coveo" / file, 1)
    assert plan.shortfalls(tmp_path, tmp_path) == []


def test_a_machine_without_gpu_has_no_gpu_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        plan_module, "environment", lambda: SimpleNamespace(memory_gib=1e6, gpus=())
    )
    assert made(disk_gib=0.0).shortfalls(tmp_path, tmp_path) == [
        "memory of one GPU: 40.0 GiB needed, 0.0 GiB here"
    ]


@pytest.mark.parametrize("gpu_gib", [0, 80])
def test_a_plan_is_the_sum_of_its_items(profile: Profile, gpu_gib: float) -> None:
    def items(unit: str, *values: float) -> list[Item]:
        return [Item(what=f"{n}", value=n, unit=unit, follows_from="a test") for n in values]

    budget = profile.budget.model_copy(update={"gpu_memory_gib": gpu_gib})
    found = Plan.of(
        profile.model_copy(update={"budget": budget}),
        sizes=items("", 7), hours=items("h", 1, 0.5), memory=items("GiB", 3, 4),
        disk=items("GiB", 5, 6), first=items("", 8), device_gib=4, memory_gib=5, data=["a"],
    )  # fmt: skip
    assert (found.hours, found.disk_gib, found.memory_gib) == (1.5, 11, 5)
    assert found.gpu_memory_gib == (4 if gpu_gib else 0)
    assert [item.value for item in found.items] == [7, 1, 0.5, 3, 4, 5, 6, 8]


def test_a_formula_names_what_its_amount_is_made_of() -> None:
    weights = product("weights", bytes=16, parameters=2**26)
    assert (weights.value, weights.unit) == (1, "GiB")
    assert weights.follows_from == "16 bytes · 67,108,864 parameters"
    both = summed("a checkpoint", weights=GIB, moments_of_Adam=2 * GIB)
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
