import json
import time

import polars as pl
import pytest

from okml import steps
from okml.errors import RecordError
from okml.ledger import DataUsed, estimate_over_seeds
from okml.steps import StepResult, Steps, announced


@pytest.fixture
def counted():
    calls = []

    def compute() -> StepResult:
        calls.append(1)
        result = StepResult(
            frames={"rows": pl.DataFrame({"x": [1, 2], "name": ["a", "b"]})},
            data={"d": DataUsed(source="wheel", sha256="0" * 64)},
            notes=["small"],
        )
        result.log("r2", 0.25, seed=3, unit="R²")
        result.measure("shift", estimate_over_seeds({0: 1.0, 1: 2.0}), "km")
        result.compare("shift", "r2", estimate_over_seeds({0: 1.0, 1: 3.0}))
        return result

    return calls, compute


def test_a_kept_step_is_not_computed_again(profile, tmp_path, counted):
    calls, compute = counted
    first = Steps(profile, tmp_path, "cpu")("probe", compute)
    again = Steps(profile, tmp_path, "cpu")("probe", compute)
    assert len(calls) == 1
    assert (again.metrics, again.differences) == (first.metrics, first.differences)
    assert again.frames["rows"].equals(first.frames["rows"])
    assert again.seconds == first.seconds


@pytest.mark.parametrize("change", ["settings", "device", "code", "half-written"])
def test_anything_that_could_change_a_result_computes_it_again(
    profile, tmp_path, counted, monkeypatch, change
):
    calls, compute = counted
    Steps(profile, tmp_path, "cpu")("probe", compute)
    device = "cuda" if change == "device" else "cpu"
    if change == "settings":
        profile = profile.override({"width": 99})
    elif change == "code":
        monkeypatch.setattr(steps, "code_hash", lambda chapter: "other")
    elif change == "half-written":
        (tmp_path / "steps" / "probe" / "step.json").write_text('{"key": ')
    Steps(profile, tmp_path, device)("probe", compute)
    assert len(calls) == 2


def test_the_record_holds_what_the_steps_measured(profile, tmp_path, counted):
    _, compute = counted
    run = Steps(profile, tmp_path, "cpu")
    result = run("probe", compute)
    record = run.record(result.frames)
    assert record.metrics["r2"].values == {"3": 0.25}
    assert record.metrics["shift"] == result.metrics["shift"]
    assert record.differences["shift"]["r2"].mean == 2.0
    assert record.tables["rows"].columns == {"x": [1, 2], "name": ["a", "b"]}
    assert record.notes == ("small",)
    assert record.provenance.data["d"].source == "wheel"


def test_the_time_of_a_resumed_run_is_the_time_it_computed(profile, tmp_path, counted):
    _, compute = counted
    Steps(profile, tmp_path, "cpu")("probe", compute)
    listing = tmp_path / "steps" / "probe" / "step.json"
    values = json.loads(listing.read_text())
    listing.write_text(json.dumps({**values, "seconds": 100.0}))
    run = Steps(profile, tmp_path, "cpu")
    run("probe", compute)
    assert run.record({}).provenance.seconds == 100.0


def test_trainings_of_other_settings_or_code_lie_elsewhere(profile, tmp_path, monkeypatch):
    folder = steps.trainings_folder(profile, tmp_path)
    assert folder == steps.trainings_folder(profile, tmp_path)
    assert folder != steps.trainings_folder(profile.override({"width": 99}), tmp_path)
    monkeypatch.setattr(steps, "code_hash", lambda chapter: "other")
    assert folder != steps.trainings_folder(profile, tmp_path)


def test_the_code_hash_leaves_other_chapters_out():
    assert steps.code_hash("space_time") != steps.code_hash("strec")


def test_a_figure_changes_a_notebook_but_no_result():
    assert steps.code_hash("space_time") != steps.code_hash("space_time", pictures=True)


def test_what_takes_a_while_is_announced_and_timed(monkeypatch, capsys):
    monkeypatch.setattr(steps, "QUIET_S", 0.0)
    printed = ""
    with announced("training"):
        for _ in range(1000):
            if printed := capsys.readouterr().out:
                break
            time.sleep(0.01)
    assert printed == "training …\n"
    assert capsys.readouterr().out.startswith("training: ")


def test_what_ends_at_once_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(steps, "QUIET_S", 60.0)
    with announced("kept training"):
        pass
    assert capsys.readouterr().out == ""


def test_an_error_leaves_no_line_for_later(monkeypatch, capsys):
    monkeypatch.setattr(steps, "QUIET_S", 0.2)
    with pytest.raises(RecordError), announced("training"):
        raise RecordError("no data")
    time.sleep(0.4)
    assert capsys.readouterr().out == ""
