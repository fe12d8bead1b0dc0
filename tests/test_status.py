"""What ``okml status`` says of runs that were run here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from okml import runlog
from okml.cli import app
from okml.locks import held
from okml.runlog import event, step, write_to
from okml.status import folders, note_folder, one_line, status


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Start a run with the steps data and training in the usual folder of strec at cpu."""
    monkeypatch.setenv("OKML_ROOT", str(tmp_path))
    folder = tmp_path / "_build" / "runs" / "strec" / "cpu"
    before = runlog.place()

    def begin(folder: Path = folder) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        write_to(folder)
        event("run started", chapter="strec", profile="cpu", steps=["data", "training"],
              budget_minutes=10.0, device="cpu")  # fmt: skip
        return folder

    yield begin
    write_to(before)


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["status", *arguments])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_nothing_has_run(run):
    assert shown() == "Nothing has run here yet."


def test_a_run_from_its_start_to_its_end(run):
    folder = run()
    with held(folder):
        with step("data"):
            pass
        with step("training"):
            details = {"arm": "gru", "seed": 1, "epoch": 0.0, "training_steps": 100}
            event("training started", training_step=0, seconds=0.0, **details)
            details["epoch"] = 2.0
            event("epoch", training_step=40, seconds=1.0, loss=0.25, **details)
            text = shown("strec")
            assert "strec cpu running for" in text
            assert "1 of 2 steps done, in training; about 10 min left" in text
            assert "by the budget of the profile" in text
            assert "gru, seed 1: epoch 2 (40%), loss 0.25" in text
            assert "process" in text
            found = status(folder)
            assert one_line(found).startswith("strec cpu: training · gru, seed 1: epoch 2 (40%)")
        event("run finished")
    text = shown()
    assert "strec cpu finished, started 20" in text
    assert text.endswith("the run is finished and recorded")
    assert "gru, seed 1: epoch" not in shown("--lines", "0")


@pytest.mark.parametrize(
    ("error", "state"),
    [(KeyboardInterrupt(), "stopped"), (SystemExit(143), "stopped"), (OSError("full"), "failed")],
)
def test_how_a_run_ended(run, error, state):
    folder = run()
    with pytest.raises(type(error)), step("training"):
        raise error
    found = status(folder)
    assert (found.state, found.step) == (state, "training")
    assert (found.problem == "OSError: full") == (state == "failed")
    assert "The same command goes on where it was." in shown()


def test_a_run_that_was_killed_is_stopped(run):
    folder = run()
    event("step started", step="training")
    found = status(folder)
    assert (found.state, found.step) == ("stopped", "training")
    assert (found.left, found.trainings) == (None, ())


def test_runs_in_folders_of_their_own_are_known_until_they_are_removed(run, tmp_path):
    usual, other = run(), run(tmp_path / "mine")
    for _ in range(2):
        note_folder("strec", usual)
        note_folder("strec", other)
    assert folders("strec") == [usual, other]
    assert folders("add") == []
    (other / runlog.EVENTS).unlink()
    assert folders("strec") == [usual]


def test_json_has_the_same(run):
    folder = run()
    event("run finished")
    done = CliRunner().invoke(app, ["status", "strec", "--json"])
    (found,) = json.loads(done.stdout)
    assert (found["folder"], found["state"]) == (str(folder), "finished")
    assert found["steps"] == ["data", "training"]


def test_an_unknown_chapter_is_refused():
    assert CliRunner().invoke(app, ["status", "strek"]).exit_code != 0
