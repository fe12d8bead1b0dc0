import json

import polars as pl
import pytest

from okml import steps
from okml.errors import RecordError
from okml.ledger import DataUsed
from okml.steps import StepResult, Steps


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
        result.log("r2", 0.25, seed=3, unit="R²", interval=(0.1, 0.4))
        return result

    return calls, compute


def test_a_kept_step_is_not_computed_again(profile, tmp_path, counted):
    calls, compute = counted
    first = Steps(profile, tmp_path, "cpu")("probe", compute)
    again = Steps(profile, tmp_path, "cpu")("probe", compute)
    assert len(calls) == 1
    assert again.measurements == first.measurements
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
    assert (record.metrics["r2"].low, record.metrics["r2"].high) == (0.1, 0.4)
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


def test_asking_for_a_number_that_was_not_measured_is_an_error(counted):
    _, compute = counted
    with pytest.raises(RecordError, match="no 'rho'"):
        compute().values("rho")


def test_the_code_hash_leaves_other_chapters_out():
    assert steps.code_hash("space_time") != steps.code_hash("strec")


def test_a_figure_changes_a_notebook_but_no_result():
    assert steps.code_hash("space_time") != steps.code_hash("space_time", pictures=True)
