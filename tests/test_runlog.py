"""Logs that several processes write and any of them may not finish."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from okml import runlog
from okml.runlog import EVENTS, LOG, duration, event, last_lines, sentence, step, write_to


@pytest.fixture(autouse=True)
def logged(tmp_path: Path) -> Iterator[None]:
    before = runlog.place()
    write_to(tmp_path)
    yield
    write_to(before)


def test_an_event_is_a_line_for_programs_and_one_for_people(tmp_path):
    with step("training"):
        event("jobs", done=2, of=7)
    started, jobs, finished = runlog.read_events(tmp_path)
    assert [e["event"] for e in (started, jobs, finished)] == [
        "step started", "jobs", "step finished",
    ]  # fmt: skip
    assert (jobs["step"], jobs["done"], jobs["of"], jobs["pid"]) == ("training", 2, 7, os.getpid())
    assert jobs["time"].endswith("+00:00")
    assert 0.01 < jobs["memory_gib"] < 100
    assert finished["seconds"] >= 0
    assert "training: 2 of 7 trainings are done" in (tmp_path / LOG).read_text()
    assert [line.split("Z  ")[1] for line in last_lines(tmp_path, 3)][:2] == [
        "training: starts",
        "training: 2 of 7 trainings are done",
    ]


def test_a_step_that_fails_says_by_what(tmp_path):
    with pytest.raises(ValueError, match="no such thing"), step("data"):
        raise ValueError("no such thing")
    assert runlog.read_events(tmp_path)[-1]["problem"] == "ValueError: no such thing"
    event("run finished")
    assert "step" not in runlog.read_events(tmp_path)[-1]  # the step is over


def test_nothing_is_logged_where_nothing_runs(tmp_path):
    write_to(None)
    event("run finished")
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path):
    (tmp_path / EVENTS).mkdir()
    event("run finished")
    assert runlog.read_events(tmp_path) == []


@pytest.mark.parametrize("rest", ['{"time": "2026', "\x00\x00", "half a line"])
def test_an_unfinished_line_costs_itself_alone(tmp_path, rest):
    event("jobs", done=1, of=2)
    with (tmp_path / EVENTS).open("a") as file:
        file.write(rest)
    event("jobs", done=2, of=2)
    assert [e["done"] for e in runlog.read_events(tmp_path)] == [1, 2]


def test_a_number_that_is_none_and_a_long_text_stay_on_one_line_of_json(tmp_path):
    event("training finished", reason="x\n" * 5000, loss=float("nan"), arm="a", seed=0, epoch=1.0,
          training_step=1, training_steps=1, seconds=1.0)  # fmt: skip
    (line,) = (tmp_path / EVENTS).read_text().splitlines()
    assert len(line) < 4096
    assert json.loads(line)["loss"] == "nan"
    assert len((tmp_path / LOG).read_text().splitlines()) == 1


WRITE = """
import sys
from pathlib import Path
from okml import runlog
runlog.write_to(Path(sys.argv[1]))
for number in range(200):
    runlog.event("jobs", done=number, of=200, filler="x" * 400)
"""


def test_lines_of_several_processes_never_mix(tmp_path):
    command = [sys.executable, "-c", WRITE, str(tmp_path)]
    for process in [subprocess.Popen(command) for _ in range(3)]:
        assert process.wait() == 0
    lines = (tmp_path / EVENTS).read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert len(events) == 600
    by_process: dict[int, list[int]] = {}
    for each in events:
        by_process.setdefault(each["pid"], []).append(each["done"])
    assert list(by_process.values()) == [list(range(200))] * 3
    assert len((tmp_path / LOG).read_text().splitlines()) == 600


TRAINING: dict[str, Any] = {
    "step": "training", "arm": "gru", "seed": 3, "epoch": 1.5, "training_step": 30,
    "training_steps": 100, "seconds": 8.06,
}  # fmt: skip


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"event": "run started", "chapter": "add", "profile": "cpu", "device": "cpu"},
         "add at cpu starts on cpu"),
        ({"event": "step kept", "step": "data", "seconds": 150}, "data: kept; it took 2 min"),
        ({"event": "training started", **TRAINING, "training_step": 0},
         "gru, seed 3: starts to train"),
        ({"event": "training started", **TRAINING},
         "gru, seed 3: goes on after epoch 1.5 (30%)"),
        ({"event": "epoch", **TRAINING, "loss": 0.123456, "memory_gib": 1.5, "ndcg@10": 0.04},
         "gru, seed 3: epoch 1.5 (30%), loss 0.1235, ndcg@10 0.04, after 8.1 s"),
        ({"event": "epoch", **TRAINING, "training_steps": 0},
         "gru, seed 3: epoch 1.5, after 8.1 s"),
        ({"event": "training finished", **TRAINING, "reason": "max_steps"},
         "gru, seed 3: finished by max_steps at epoch 1.5 (30%), after 8.1 s"),
    ],
)  # fmt: skip
def test_what_people_read(values, expected):
    assert sentence(values) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1 min"), (3570, "1 h 0 min"), (19_260, "5 h 21 min"),
     (270_000, "3 d 3 h")],
)  # fmt: skip
def test_durations(seconds, expected):
    assert duration(seconds) == expected
