"""What is looked for before a run of Table 1 trains anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from okml.add.config import PROFILES
from okml.add.experiments import released
from okml.add.full_scale import prerequisites
from okml.add.full_scale.prepare import encode_pairs
from okml.add.full_scale.settings import (
    TABLE_1,
    FullScaleSettings,
    ReleasedSettings,
    table_1,
)
from okml.add.full_scale.shards import stream_pairs, write_shard
from okml.add.study import Study
from okml.errors import DataError
from okml.training import TrainingSettings
from tests.add import pipelines
from tests.add.chapter.tiny import tiny

NOTHING = ReleasedSettings()
TURBO = ReleasedSettings(students=("sdxl",))
EXAMPLES = 7  # that pipelines.raw_shard has of use


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OKML_DATA", str(tmp_path / "cache"))
    monkeypatch.delenv("OKML_ACCEPT", raising=False)
    monkeypatch.delenv("OKML_OFFLINE", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def all_there(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything but shards can be had; what was brought."""
    brought: list[str] = []
    monkeypatch.setattr(prerequisites, "find_spec", lambda name: object())
    monkeypatch.setattr(prerequisites, "check_obtainable", lambda name: None)
    monkeypatch.setattr(prerequisites, "fetch", brought.append)
    monkeypatch.setattr(prerequisites, "InceptionFeatures", lambda: brought.append("inception"))
    return brought


def row(steps: int, **changes: Any) -> FullScaleSettings:
    """Return a training that shows four examples a step."""
    return FullScaleSettings(training=TrainingSettings(batch_size=4, max_steps=steps), **changes)


def write(settings: FullScaleSettings, folder: Path) -> None:
    encoders = pipelines.encoders(pipelines.pipeline())
    pairs = stream_pairs(str(pipelines.raw_shard(folder / "raw")))
    made = encode_pairs(pairs, encoders, torch.device("cpu"), pipelines.SIDE)
    write_shard(made, settings.shard_folder / "000000.tar")


def test_one_message_lists_everything_that_a_user_has_to_supply(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> Any:
        raise AssertionError("went out although something was missing")

    monkeypatch.setattr(prerequisites, "find_spec", lambda name: None)
    monkeypatch.setattr(prerequisites, "fetch", refuse)
    monkeypatch.setattr(prerequisites, "InceptionFeatures", refuse)
    published = PROFILES["gpu"].published
    with pytest.raises(DataError) as caught:
        prerequisites.require(published.settings(), published.released)
    message = str(caught.value)
    assert "torch-fidelity, webdataset" in message
    assert 'pip install "okml[add]"' in message
    for student, first in (("sd21", "default"), ("sdxl", "e.student_sdxl")):
        assert str(cache / "add" / "shards" / student) in message
        assert f"python -m okml.add.full_scale prepare URLS --row {first}" in message
    assert "OKML_ACCEPT=sai-nc-community okml data fetch sdxl_turbo" in message
    assert "Nothing was trained" in message


def test_nothing_is_asked_of_a_run_without_published_models(all_there: list[str]) -> None:
    for name in ("smoke", "cpu"):
        published = PROFILES[name].published
        prerequisites.require(published.settings(), published.released)
    assert all_there == []


def test_models_come_before_the_first_training(tmp_path: Path, all_there: list[str]) -> None:
    settings = row(steps=1)
    write(settings, tmp_path)
    prerequisites.require({"default": settings}, TURBO)
    assert all_there == [
        "sdxl_turbo", "clip_vit_g14", "clip_vitl14", "coco_val2017", "stable_diffusion_2.1_base",
        "dinov2_vits14", "dinov2_vitl14", "inception",
    ]  # fmt: skip


def test_released_models_need_no_shards(all_there: list[str]) -> None:
    prerequisites.require({}, ReleasedSettings(students=("sd21",), teachers=("sd15",)))
    assert all_there == [
        "sd_turbo", "stable_diffusion_1.5", "clip_vit_g14", "clip_vitl14", "coco_val2017",
        "inception",
    ]  # fmt: skip


def test_table_2_waits_for_the_shards_of_table_1(
    tmp_path: Path, all_there: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing shards are found before hours of drawing, not after them."""

    def draw(*arguments: Any) -> Any:
        raise AssertionError("drew although the run could not go on")

    for name in ("time_student", "score_student"):
        monkeypatch.setattr(released, name, draw)
    both = {"published.rows": ["default"], "published.released.students": ["sd21"]}
    with pytest.raises(DataError, match=r"no shards .*--row default"):
        released.measure_released(Study(tiny(**both), tmp_path))
    assert all_there == []


def test_a_training_needs_as_many_examples_as_it_shows(
    tmp_path: Path, all_there: list[str]
) -> None:
    write(row(steps=1), tmp_path)
    with pytest.raises(DataError, match=rf"holds {EXAMPLES} examples, .* shows 8"):
        prerequisites.require({"default": row(steps=1), "d.sds": row(steps=2)}, NOTHING)
    assert all_there == []


def test_shards_of_another_family_do_not_count(tmp_path: Path, all_there: list[str]) -> None:
    """Their latents are of another autoencoder."""
    write(row(steps=1), tmp_path)
    rows = {"default": row(steps=1), "e.both_sdxl": row(1, student="sdxl")}
    with pytest.raises(DataError, match=r"no shards .*sdxl.*--row e\.both_sdxl"):
        prerequisites.require(rows, NOTHING)


def test_a_damaged_shard_is_found_before_it_is_needed(tmp_path: Path, all_there: list[str]) -> None:
    settings = row(steps=1)
    write(settings, tmp_path)
    (settings.shard_folder / "000001.tar").write_bytes(b"x" * 600)
    with pytest.raises(DataError, match=r"000001\.tar is no readable shard"):
        prerequisites.require({"default": settings}, NOTHING)


def test_all_that_cannot_be_fetched_is_listed(
    tmp_path: Path, all_there: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> None:
        if "clip" in name:
            raise DataError(f"{name} cannot be had.", "Try again.")

    def no_network() -> None:
        raise OSError("no answer")

    settings = row(steps=1)
    write(settings, tmp_path)
    monkeypatch.setattr(prerequisites, "fetch", refuse)
    monkeypatch.setattr(prerequisites, "InceptionFeatures", no_network)
    with pytest.raises(DataError) as caught:
        prerequisites.require({"default": settings}, NOTHING)
    assert "- clip_vit_g14 cannot be had.\n  Try again.\n- clip_vitl14" in str(caught.value)
    assert "Inception-v3, which torch-fidelity fetches for FID: no answer" in str(caught.value)


def test_every_row_finds_its_networks_among_the_entries() -> None:
    names = prerequisites.entries(table_1(), TURBO)
    assert len(names) == len(set(names))
    for settings in table_1().values():
        assert settings.features in names
    assert {"stable_diffusion_2.1_base", "sdxl_base_1.0", "sdxl_turbo"} <= set(names)
    few = prerequisites.entries({"default": table_1()["default"]}, NOTHING)
    assert not {"sdxl_base_1.0", "sdxl_turbo", "dino_vits16"} & set(few)


def test_shards_lie_in_the_data_folder_wherever_python_was_started(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = {name: settings.shard_folder for name, settings in table_1().items()}
    assert folders["default"] == cache / "add" / "shards" / "sd21"
    assert {name for name in TABLE_1 if folders[name] != folders["default"]} == {
        "e.student_sdxl",
        "e.both_sdxl",
    }
    elsewhere = FullScaleSettings(shards=Path("/big/disk"))
    assert elsewhere.shard_folder == Path("/big/disk/sd21")
