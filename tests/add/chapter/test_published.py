"""The rows of Table 1 as steps of the chapter; the models themselves are stand-ins here."""

from __future__ import annotations

import gc
import weakref
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from okml.add.experiment import Experiment
from okml.add.experiments import published, training
from okml.add.latency import Latency, LatencyTable
from okml.add.study import Study
from okml.errors import DataError
from tests.add.chapter.tiny import tiny

ROWS = ["default", "d.adversarial_only", "b.unconditional"]
FID = {"default": 20.0, "d.adversarial_only": 22.0, "b.unconditional": 30.0}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    changes = {"published.rows": ROWS, "published.released": "sdxl"}
    return Study(tiny(**changes), tmp_path)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was trained and timed, in order."""
    made: list[str] = []

    def score(settings: Any, folder: Path, device: str) -> dict[str, float]:
        fid = FID[folder.name]
        found = {f"fid@{steps}": fid + steps for steps in settings.evaluation_steps}
        return found | {f"clip_score@{s}": fid / 100 for s in settings.evaluation_steps}

    def time(name: str, device: str) -> LatencyTable:
        made.append(f"time {name}")
        return LatencyTable((Latency(4, 1, 2, 3, 6.0),), 0, 0, 0, 1.0)

    monkeypatch.setattr(published, "require", lambda rows, released: made.append("require"))
    # The name in the sources stays: it is part of the key of what is trained.
    train = wraps(published.train)(lambda settings, folder: made.append(folder.name))
    monkeypatch.setattr(published, "train", train)
    monkeypatch.setattr(published, "evaluate", score)
    monkeypatch.setattr(published, "time_released", time)
    monkeypatch.setattr(
        published,
        "evaluate_teacher",
        lambda study: {1: {"fid": 84.0, "clip_score": 0.2}, 25: {"fid": 42.0, "clip_score": 0.3}},
    )
    return made


def test_rows_are_kept_one_by_one(
    study: Study, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in the last row costs that row alone."""

    @wraps(published.train)
    def fail(settings: Any, folder: Path) -> None:
        if folder.name == ROWS[-1]:
            raise DataError("the line was cut")
        calls.append(folder.name)

    whole = published.train
    monkeypatch.setattr(published, "train", fail)
    with pytest.raises(DataError, match="cut"):
        published.measure_published(study)
    assert calls == ["require", "time sdxl", *ROWS[:-1]]
    calls.clear()
    monkeypatch.setattr(published, "train", whole)
    result = published.measure_published(study)
    assert calls == ["require", ROWS[-1]]
    table = result.frames["table_1"]
    assert table["row"].to_list() == [name for name in ROWS for _ in range(3)] + ["teacher"] * 2
    assert table.filter(row="default")["FID"].to_list() == [21, 22, 24]


def test_what_training_leaves_is_given_back_before_images_are_drawn(
    study: Study, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Network:
        """Refers to itself, as modules with hooks do, so that only a collection ends it."""

        def __init__(self) -> None:
            self.own = self

    left: list[weakref.ref[Network]] = []
    score = published.evaluate

    @wraps(published.train)
    def train(settings: Any, folder: Path) -> None:
        left.append(weakref.ref(Network()))

    def evaluate(*given: Any) -> dict[str, float]:
        assert left[-1]() is None
        return score(*given)

    monkeypatch.setattr(published, "train", train)
    monkeypatch.setattr(published, "evaluate", evaluate)
    gc.disable()
    try:
        published.measure_row(study, "default")
    finally:
        gc.enable()
    assert len(left) == 1


def test_claims_compare_scores_of_rows(study: Study, calls: list[str]) -> None:
    result = published.measure_published(study)
    found = {name: item.mean for name, item in result.metrics.items()}
    assert found["fid_one_step"] == 21
    assert found["fd_ratio_one_step"] == 21 / 84
    assert found["fd_ratio_to_25_steps"] == 21 / 42
    assert found["fd_ratio_more_steps"] == max(22 / 21, 24 / 22)
    assert found["distillation_clip_gain"] == pytest.approx(0.20 - 0.22)
    assert found["conditioning_clip_gain"] == pytest.approx(0.20 - 0.30)
    assert found["latency_four_steps_ms"] == 6
    assert found["peak_gpu_memory_gb"] == pytest.approx(2**30 / 1e9)
    assert "teacher_steps_fid_gain" not in found


def test_nothing_is_trained_while_something_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(study: Study) -> None:
        raise AssertionError("trained although shards are missing")

    monkeypatch.setattr(training, "train_ahead", refuse)
    monkeypatch.setenv("OKML_DATA", str(tmp_path / "cache"))
    experiment = Experiment(tiny(**{"published.rows": ROWS}), tmp_path / "run")
    with pytest.raises(DataError, match="no shards"):
        _ = experiment.training
