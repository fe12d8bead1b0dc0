from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from okml import resources
from okml.chapters import Chapter, chapter
from okml.data import CatalogEntry
from okml.errors import ResourceError
from okml.lightsage.datasets.coveo import COLUMNS, WHERE
from okml.plan import Item, Plan
from okml.profile import Profile
from okml.resources import require, shortfalls, workers
from okml.runtime import on_one_disk
from tests.plans import made

GIB = 2**30


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 GiB of memory, GPUs of 24 and 48 GiB, 300 GiB of free disk, a data folder."""
    gpus = (SimpleNamespace(memory_gib=24.0), SimpleNamespace(memory_gib=48.0))
    monkeypatch.setattr(
        resources, "environment", lambda: SimpleNamespace(memory_gib=64.0, gpus=gpus)
    )
    monkeypatch.setenv("OKML_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda folder: SimpleNamespace(free=300 * GIB if folder.exists() else 0),
    )


@pytest.mark.usefixtures("machine")
def test_what_fits_lacks_nothing(profile: Profile, tmp_path: Path) -> None:
    assert shortfalls(made(), profile, tmp_path) == []


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
def test_what_is_lacking_is_named(
    profile: Profile, tmp_path: Path, change: dict[str, float], sentence: str
) -> None:
    assert shortfalls(made(**change), profile, tmp_path) == [sentence]


@pytest.mark.usefixtures("machine")
def test_a_container_without_shared_memory_is_named(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shm"
    monkeypatch.setattr(resources, "SHARED", shared)
    plan = made(shared_gib=6.0)
    assert shortfalls(plan, profile, tmp_path) == []  # a system that has no such folder
    shared.mkdir()
    assert shortfalls(plan, profile, tmp_path) == []
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda folder: SimpleNamespace(free=2**26 if folder == shared else 300 * GIB),
    )
    assert shortfalls(plan, profile, tmp_path) == [
        f"shared memory ({shared}): 6.0 GiB needed, 0.1 GiB here"
    ]


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("jobs", "per_card", "changes", "sentences"),
    [
        (3, "1", {"memory_gib": 33.0}, ["memory of 2 workers: 66.0 GiB needed, 64.0 GiB here"]),
        (1, "2", {"memory_gib": 33.0}, []),
        (3, "2", {"memory_gib": 33.0}, ["memory of 3 workers: 99.0 GiB needed, 64.0 GiB here"]),
        (9, "2", {"gpu_memory_gib": 25.0}, ["memory of one GPU: 50.0 GiB needed, 48.0 GiB here"]),
    ],
)
def test_each_card_has_workers_as_long_as_there_are_trainings(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    jobs: int,
    per_card: str,
    changes: dict[str, float],
    sentences: list[str],
) -> None:
    monkeypatch.setenv("OKML_PER_CARD", per_card)
    stated = chapter("space_time").profile("gpu")
    planned = made(**{"memory_gib": 1.0, "gpu_memory_gib": 1.0} | changes, jobs=jobs)
    assert shortfalls(planned, stated, tmp_path) == sentences
    on_cpu = stated.model_copy(update={"device": "cpu"})
    assert workers(planned, on_cpu) == 1


@pytest.mark.usefixtures("machine")
def test_workers_share_the_memory_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "SHARED", tmp_path)
    stated = chapter("space_time").profile("gpu")
    planned = made(memory_gib=1.0, disk_gib=1.0, shared_gib=151.0, jobs=2)
    assert shortfalls(planned, stated, tmp_path) == [
        f"shared memory of 2 workers ({tmp_path}): 302.0 GiB needed, 300.0 GiB here"
    ]


@pytest.fixture
def plans(machine: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Plan]:
    """Plans of chapters that a test states; each fits the machine alone."""
    stated: dict[str, Plan] = {}
    monkeypatch.setattr(Chapter, "plan", lambda self, profile: stated[self.name])
    return stated


def test_chapters_of_one_command_share_a_disk(plans: dict[str, Plan], tmp_path: Path) -> None:
    names = ("space_time", "strec", "add")
    plans.update({name: made(chapter=name, disk_gib=140.0, data=()) for name in names})
    runs = [(chapter(name).profile("gpu"), tmp_path / name) for name in names]
    said: list[str] = []
    require(runs[:2], said.append)
    with pytest.raises(ResourceError, match="space_time, strec, add take together") as error:
        require(runs, said.append)
    assert "free disk: 420.0 GiB needed, 300.0 GiB here" in error.value.message
    # Those of the smallest scale fit any machine.
    smoke = [(chapter(name).profile("smoke"), folder) for name, folder in zip(
        names, (folder for _, folder in runs), strict=True)]  # fmt: skip
    require([*runs[:2], smoke[2]], said.append)
    assert said == []


def test_a_disk_that_only_a_bound_exceeds_is_warned_of(
    plans: dict[str, Plan], tmp_path: Path
) -> None:
    plans["strec"] = made(chapter="strec", disk_gib=310.0, disk_bound_gib=20.0, data=())
    stated = chapter("strec").profile("gpu")
    said: list[str] = []
    require([(stated, tmp_path)], said.append)
    sentence = "free disk: at most 310.0 GiB needed, 300.0 GiB here"
    assert shortfalls(plans["strec"], stated, tmp_path) == [sentence]
    assert sentence in said[0]
    plans["strec"] = made(chapter="strec", disk_gib=310.0, disk_bound_gib=9.0, data=())
    with pytest.raises(ResourceError, match=r"at most 310\.0 GiB"):
        require([(stated, tmp_path)], said.append)
    assert len(said) == 1


@pytest.mark.usefixtures("machine")
def test_folders_that_a_person_fills_are_named(profile: Profile, tmp_path: Path) -> None:
    examples = tmp_path / "shards"
    plan = made(filled_first={str(examples): "prepare URLS"})
    sentence = f"examples in {examples}: `prepare URLS` writes them"
    assert shortfalls(plan, profile, tmp_path) == [sentence]
    examples.mkdir()
    assert shortfalls(plan, profile, tmp_path) == [sentence]
    (examples / "000000.tar").touch()
    assert shortfalls(plan, profile, tmp_path) == []


@pytest.mark.usefixtures("machine")
def test_a_folder_that_is_not_there_yet_is_on_its_parent_disk(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = tmp_path / "not" / "here" / "yet"
    monkeypatch.setenv("OKML_DATA", str(later))
    assert shortfalls(made(), profile, later) == []


DATA = Item(what="data", value=3 / 4, unit="GiB", follows_from="three files", in_data_folder=True)
QUARTER = 2**28  # bytes: a quarter of a GiB, of which nothing is written


def sparse(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as handle:
        handle.truncate(size)


@pytest.fixture
def catalog_of_a(machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set ``a`` of three files, one of which is in the data folder."""
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
    sparse(tmp_path / "data" / "a" / "y", QUARTER)


def free(monkeypatch: pytest.MonkeyPatch, gib: float) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=gib * GIB))


@pytest.mark.usefixtures("catalog_of_a")
@pytest.mark.parametrize(("gib", "fits"), [(4.25, True), (4.2, False)])
def test_files_and_trainings_that_are_here_are_not_counted_again(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gib: float, fits: bool
) -> None:
    # 5 GiB in all; of data a quarter is here, of trainings two quarters are.
    for name in ("one", "two", "by other code"):
        sparse(tmp_path / "run" / name / "last.ckpt", QUARTER)
    free(monkeypatch, gib)
    plan = made(disk_gib=5.0, items=(DATA,), data=("a",))
    kept = [tmp_path / "run" / "one", tmp_path / "run" / "two"]
    monkeypatch.setattr(resources, "trainings_in_use", lambda *_: kept)
    assert (shortfalls(plan, profile, tmp_path / "run") == []) is fits


@pytest.mark.usefixtures("catalog_of_a")
def test_two_file_systems_each_have_to_hold_their_part(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "on_one_disk", lambda one, other: False)
    free(monkeypatch, 1.0)
    plan = made(disk_gib=5.0, items=(DATA,), data=("a",))
    # 0.5 GiB of data are still to come, and 4.25 GiB are written by the run.
    assert shortfalls(plan, profile, tmp_path / "run") == [
        f"free disk for {tmp_path / 'run'}: 4.2 GiB needed, 1.0 GiB here"
    ]


def test_folders_below_one_are_on_its_disk_and_those_of_the_kernel_are_not(tmp_path: Path) -> None:
    assert on_one_disk(tmp_path / "a" / "b", tmp_path / "c")
    if Path("/proc/self").exists():
        assert not on_one_disk(tmp_path, Path("/proc/self"))


@pytest.mark.usefixtures("machine")
def test_data_that_a_person_has_to_fetch_are_missed_until_they_are_here(
    profile: Profile, tmp_path: Path
) -> None:
    plan, place = made(data=("coveo",)), tmp_path / "data" / "coveo"
    told = f"coveo, by hand: {WHERE} → {place} ({', '.join(COLUMNS)})"
    assert shortfalls(plan, profile, tmp_path) == [told]
    for file in COLUMNS:
        sparse(place / file, 1)
    assert shortfalls(plan, profile, tmp_path) == []


@pytest.mark.usefixtures("machine")
def test_a_machine_without_gpu_has_no_gpu_memory(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "environment", lambda: SimpleNamespace(memory_gib=1e6, gpus=()))
    assert shortfalls(made(), profile, tmp_path) == [
        "memory of one GPU: 40.0 GiB needed, 0.0 GiB here"
    ]
