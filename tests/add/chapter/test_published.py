"""The rows of Table 1 as steps of the chapter; the models themselves are stand-ins here."""

from __future__ import annotations

import gc
import weakref
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from okml.add.experiment import Experiment
from okml.add.experiments import published, training
from okml.add.experiments.released import GAUSSIAN, scores_frame
from okml.add.full_scale import run
from okml.add.study import Study
from okml.errors import DataError
from okml.ledger import load_claims
from tests.add.chapter.tiny import tiny

FID = {
    "default": 20.0,
    "d.adversarial_only": 22.0,
    "d.distillation_only": 90.0,
    "b.unconditional": 30.0,
    "b.text_only": 12.0,
    "b.image_only": 31.0,
    "c.random_student": 200.0,
    "a.dino_v1": 25.0,
    "f.four_teacher_steps": 19.5,
}
ROWS = list(FID)
NOISE = np.array([0, 0.1, -0.2, 0.05, 0.15])  # of the whole, and without each of four groups


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tiny(**{"published.rows": ROWS}), tmp_path)


def released() -> pl.DataFrame:
    """Return scores of the teacher at two scales, of its one step, and of a Gaussian."""

    def frame(row: str, steps: int, guidance: float, fid: float) -> pl.DataFrame:
        clip = list(0.2 + NOISE)
        found = {"fid": list(fid + NOISE), "clip_score": clip, "clip_score_vitl14": clip}
        return scores_frame(row, steps, guidance, found)

    base = "stable_diffusion_2.1_base"
    return pl.concat(
        [
            frame(GAUSSIAN, 0, 1.0, 300.0),
            frame(base, 1, 1.0, 84.0),
            frame(base, 25, 3.0, 42.0),
            frame(base, 25, 7.5, 50.0),
            frame("sdxl_base_1.0", 25, 3.0, 10.0),
        ]
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was trained, in order."""
    made: list[str] = []

    def score(settings: Any, folder: Path, device: str) -> dict[str, list[float]]:
        fid = FID[folder.name] + NOISE
        found = {f"fid@{steps}": list(fid + steps) for steps in settings.evaluation_steps}
        return found | {
            f"clip_score{end}@{steps}": list(fid / 100)
            for steps in settings.evaluation_steps
            for end in ("", "_vitl14")
        }

    monkeypatch.setattr(published, "require", lambda rows, released: made.append("require"))
    # A collection of garbage takes half a second where many libraries are loaded.
    monkeypatch.setattr(published, "free_memory", lambda: None)
    # The name in the sources stays: it is part of the key of what is trained.
    train = wraps(published.train)(lambda settings, folder: made.append(folder.name))
    monkeypatch.setattr(published, "train", train)
    monkeypatch.setattr(published, "evaluate", score)
    # Workers would know nothing of the stand-ins.
    monkeypatch.setattr("okml.training.ahead.usable_cores", lambda: 1)
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
        published.measure_published(study, released())
    assert calls == ["require", *ROWS[:-1]]
    calls.clear()
    monkeypatch.setattr(published, "train", whole)
    result = published.measure_published(study, released())
    assert calls == ["require", ROWS[-1]]
    table = result.frames["table_1"]
    assert table["row"].to_list() == [name for name in ROWS for _ in range(3)] + [
        GAUSSIAN, "teacher", "teacher"
    ]  # fmt: skip
    assert table.filter(row="default")["FID"].to_list() == [21, 22, 24]
    # The better of two scales of guidance, of the teacher of the base alone.
    assert table.filter(row="teacher", steps=25).select("guidance", "FID").row(0) == (3, 42)


def test_what_training_and_drawing_leave_is_given_back_before_what_follows(
    study: Study, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Network:
        """Refers to itself, as modules with hooks do, so that only a collection ends it."""

        def __init__(self) -> None:
            self.own = self

    left: list[weakref.ref[Network]] = []
    score = published.evaluate
    monkeypatch.setattr(published, "free_memory", run.free_memory)

    @wraps(published.train)
    def train(settings: Any, folder: Path) -> None:
        assert not [network for network in left if network() is not None]
        left.append(weakref.ref(Network()))

    def evaluate(*given: Any) -> dict[str, float]:
        assert left[-1]() is None
        left.append(weakref.ref(Network()))
        return score(*given)

    monkeypatch.setattr(published, "train", train)
    monkeypatch.setattr(published, "evaluate", evaluate)
    gc.disable()
    try:
        for row in ROWS[:2]:
            published.measure_row(study, row)
    finally:
        gc.enable()
    assert len(left) == 4


def test_claims_compare_scores_of_rows(study: Study, calls: list[str]) -> None:
    result = published.measure_published(study, released())
    found = {name: item.mean for name, item in result.metrics.items()}
    assert found["fid_one_step"] == 21
    assert found["fd_ratio_one_step"] == 21 / 84
    assert found["fd_ratio_to_25_steps"] == 21 / 42
    assert found["fd_ratio_more_steps"] == max(22 / 21, 24 / 22)
    assert found["distillation_clip_gain"] == pytest.approx(0.20 - 0.22)
    # The best of no condition, text alone and image alone.
    assert found["conditioning_clip_gain_over_best"] == pytest.approx(0.20 - 0.31)
    assert found["dinov2_fid_gain"] == pytest.approx(5)
    assert found["teacher_steps_fid_gain"] == pytest.approx(0.5)
    controls = {
        ("fd_ratio_one_step", "cheap_fd_ratio_one_step"): (21 - 300) / 84,
        ("fd_ratio_to_25_steps", "cheap_fd_ratio_to_25_steps"): (21 - 300) / 42,
        ("random_init_fd_ratio", "teacher_fd_ratio"): (201 - 84) / 21,
    }
    for (metric, control), expected in controls.items():
        assert result.differences[metric][control].mean == pytest.approx(expected)


def test_claims_of_the_published_models_have_intervals(study: Study, calls: list[str]) -> None:
    result = published.measure_published(study, released())
    for claim in load_claims("add"):
        if claim.metric in result.metrics:
            assert result.metrics[claim.metric].interval is not None, claim.id
            if claim.control:
                found = result.differences[claim.metric][claim.control.metric]
                assert found.interval is not None, claim.id
    decided = {claim.metric for claim in load_claims("add") if set(claim.expect) == {"gpu"}}
    of_released = {"latency_over_digest", "peak_gpu_memory_gb", "released_fid_ratio_to_25_steps"}
    of_emoji = {"alignment_gain_over_25_steps"}
    assert decided - set(result.metrics) == of_released | of_emoji


def test_a_row_that_was_not_run_is_compared_with_nothing(tmp_path: Path, calls: list[str]) -> None:
    result = published.measure_published(
        Study(tiny(**{"published.rows": ROWS[:2]}), tmp_path), released()
    )
    assert "teacher_steps_fid_gain" not in result.metrics
    assert "conditioning_clip_gain_over_best" not in result.metrics


def test_nothing_is_trained_while_something_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise AssertionError("trained although shards are missing")

    monkeypatch.setattr(training, "train_ahead", refuse)
    monkeypatch.setenv("OKML_DATA", str(tmp_path / "cache"))
    experiment = Experiment(tiny(**{"published.rows": ROWS}), tmp_path / "run")
    with pytest.raises(DataError, match="no shards"):
        _ = experiment.training
