"""What trainings tell the log of their run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from okml import runlog
from okml.training import fit
from okml.training.ahead import train_ahead
from okml.training.events import arm_of
from tests.training.tasks import BASE, ActorCritic, Noisy

SETTINGS = BASE.model_copy(update={"device": "cpu", "max_steps": 12, "checkpoint_every": 5})


@pytest.fixture
def run_dir(tmp_path: Path) -> Iterator[Path]:
    before = runlog.place()
    runlog.write_to(runlog.Place(tmp_path, "training"))
    yield tmp_path
    runlog.write_to(before)


def train(folder: Path, task: ActorCritic | None = None) -> None:
    fit(task or ActorCritic(), Noisy(), SETTINGS, folder)


def told(run_dir: Path) -> list[tuple[str, int]]:
    return [(each["event"], each["training_step"]) for each in runlog.read_events(run_dir)]


def test_a_training_tells_its_evaluations_checkpoints_and_end(run_dir):
    train(run_dir / "training" / "actor" / f"seed{SETTINGS.seed}")
    assert told(run_dir) == [
        ("training started", 0), ("epoch", 4), ("checkpoint", 4), ("checkpoint", 5), ("epoch", 8),
        ("checkpoint", 8), ("checkpoint", 10), ("epoch", 12), ("checkpoint", 12),
        ("training finished", 12),
    ]  # fmt: skip
    epoch = runlog.read_events(run_dir)[1]
    assert (epoch["step"], epoch["arm"], epoch["seed"]) == ("training", "actor", SETTINGS.seed)
    assert epoch["epoch"] == pytest.approx(4 / 6, rel=1e-5)  # 42 rows in batches of 8
    history = fit(ActorCritic(), Noisy(), SETTINGS, run_dir / "training" / "actor" / "seed5").frame
    assert epoch["loss"] == pytest.approx(history["critic/loss"][3], rel=1e-5)
    assert epoch["error"] == pytest.approx(history["error"][3], rel=1e-5)
    assert epoch["seconds"] > 0
    assert len(runlog.read_events(run_dir)) == 10  # a finished one that is loaded says nothing


def test_a_training_that_was_stopped_says_so_and_goes_on(run_dir):
    first = ActorCritic()
    first.kill_at_step, first.signal = 7, signal.SIGTERM
    with pytest.raises(SystemExit):
        train(run_dir / "a", first)
    assert told(run_dir)[-2:] == [("checkpoint", 7), ("training stopped", 7)]
    train(run_dir / "a")
    assert ("training started", 7) in told(run_dir)


def test_a_training_outside_of_a_run_logs_nothing(tmp_path):
    runlog.write_to(None)
    train(tmp_path)
    assert not (tmp_path / runlog.EVENTS).exists()


class Study:
    def __init__(self, profile: object, run_dir: Path) -> None:
        self.profile, self.run_dir, self.device = profile, run_dir, torch.device("cpu")

    def needs(self, job: str) -> tuple[str, ...]:
        return ()

    def train(self, job: str) -> None:
        train(self.run_dir / job)


def test_workers_write_into_the_log_of_the_run(run_dir):
    train_ahead(Study(None, run_dir), ["a", "b"], [torch.device("cpu")] * 2)
    events: list[dict[str, Any]] = runlog.read_events(run_dir)
    finished = {e["arm"]: e["pid"] for e in events if e["event"] == "training finished"}
    assert sorted(finished) == ["a", "b"]
    assert {each["step"] for each in events} == {"training"}
    assert [(e["done"], e["of"]) for e in events if e["event"] == "jobs"] == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("folder", "seed", "arm"),
    [
        ("training/default/seed3", 3, "default"),
        ("training/0123456789ab-ba9876543210/default/seed3/hard2", 3, "default/hard2"),
        ("training/mlp task 3", 3, "mlp task"),
        ("training/vit 13", 3, "vit 13"),
        ("critics ips 0", 0, "critics ips"),
        ("seed 4", 4, "seed 4"),
    ],
)
def test_the_name_of_an_arm_is_that_of_its_folder_without_the_seed(tmp_path, folder, seed, arm):
    assert arm_of(tmp_path / folder, seed, tmp_path) == arm
