"""When a kept step is used, and when it is computed again."""

import itertools
from importlib import metadata
from types import SimpleNamespace

import polars as pl
import pytest

from okml.code_key import reach
from okml.errors import RecordError
from okml.ledger import parse_claims, save_record
from okml.ledger import run as run_module
from okml.profile import Profile
from okml.steps import StepResult, Steps


class TinyModelProfile(Profile):
    chapter = "space_time"
    width: int = 8
    model: str = ""


def model_profile(profile, folder):
    values = profile.model_dump(exclude={"rate", "layers"})
    return TinyModelProfile.model_validate({**values, "model": str(folder)})


def test_a_kept_step_is_not_computed_again(run):
    first, calls = run()
    again, none = run()
    assert calls == ["quality", "train", "serving"]
    assert none == []
    for name in ("quality", "serving"):
        one, other = first.results[name], again.results[name]
        assert other.frames.keys() == one.frames.keys()
        assert all(frame.equals(one.frames[key]) for key, frame in other.frames.items())
        assert (other.metrics, other.differences) == (one.metrics, one.differences)
        assert (other.data, other.notes, other.seconds) == (one.data, one.notes, one.seconds)
    assert again.results["quality"].values("r2") == [0.25]


def test_a_record_has_the_memory_of_the_run_that_computed_its_steps(run, profile, monkeypatch):
    monkeypatch.setattr(run_module, "peak_memory_gib", lambda: 4.5)
    computed, _ = run()
    save_record(computed.record({}), profile, computed.run_dir)
    monkeypatch.setattr(run_module, "peak_memory_gib", lambda: 0.5)
    kept, none = run()
    assert none == []
    assert kept.record({}).provenance.peak_memory_gib == 4.5
    other, _ = run(device="cuda")  # computes all of it
    assert other.record({}).provenance.peak_memory_gib == 0.5


@pytest.mark.parametrize(
    ("file", "old", "new", "computed"),
    [
        ("maths.py", '    """Return x, scaled."""\n', "    # It is scaled.\n", []),
        ("maths.py", "2 * x", "(2 *\n            x)", []),
        ("maths.py", "def scaled(x):", "def scaled(x: int) -> int:", []),
        ("__init__.py", "", '"""A package."""', []),
        ("maths.py", "2 * x", "3 * x", ["quality", "train"]),
        ("maths.py", "x + 1", "x + 2", ["serving"]),
        ("steps.py", "study.serve()", "-study.serve()", ["serving"]),
        ("steps.py", '["a", "b"]', '["a", "c"]', ["quality"]),
    ],
)
def test_an_edit_computes_what_it_can_change(package, run, file, old, new, computed):
    run()
    package.edit(file, old, new)
    assert run()[1] == computed


def test_other_settings_devices_and_inputs_are_other_results(run, profile):
    rows = pl.DataFrame({"x": [0.1, None]})
    changes = [
        {},
        {"profile": profile.override({"width": 99})},
        {"device": "cuda"},
        {"factor": 2},
        {"rows": rows},
        {"rows": rows.fill_null(0.1)},
        {"rows": rows.fill_null(float("nan"))},
        {"rows": rows.cast(pl.Float32)},
    ]
    for change in changes[:2]:
        assert "quality" in run(**change)[1]
    for change in changes[2:]:
        assert "quality" in run(**change)[1]
        assert run(**change)[1] == []


def test_another_version_of_a_library_is_another_result(run, monkeypatch):
    run()
    versions = {"numpy": "99.0"}
    real = metadata.version
    reach._version.cache_clear()
    monkeypatch.setattr(metadata, "version", lambda name: versions.get(name) or real(name))
    assert "quality" in run()[1]  # `serving` uses no NumPy
    reach._version.cache_clear()


def test_other_weights_in_a_local_folder_are_another_result(
    run, profile, tmp_path, monkeypatch
):  # fmt: skip
    monkeypatch.setenv("OKML_DATA", str(tmp_path / "data"))
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"one")
    own = model_profile(profile, model)
    run(own)
    assert run(own)[1] == []
    (model / "model.safetensors").write_bytes(b"two, and longer")
    assert run(own)[1] == ["quality", "train", "serving"]
    (model / "tokenizer.json").write_text("{}")
    assert run(own)[1] == ["quality", "train", "serving"]


def test_the_record_holds_what_the_steps_measured(run):
    steps, _ = run()
    record = steps.record(steps.results["quality"].frames)
    assert record.metrics["r2"].values == {"3": 0.25}
    assert record.metrics["shift"] == steps.results["serving"].metrics["shift"]
    assert record.differences["shift"]["r2"].mean == 2.0
    assert record.tables["rows"].columns == {"x": [1, 2], "name": ["a", "b"]}
    assert record.notes == ("small",)
    assert record.provenance.data["d"].source == "wheel"
    assert record.provenance.adopted == {}


def test_the_time_of_a_resumed_run_is_the_time_it_computed(run, monkeypatch):
    clock = itertools.count(step=50.0)
    monkeypatch.setattr("okml.steps.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    run()
    assert run()[0].record({}).provenance.seconds == 2 * 50.0


def test_asking_for_a_number_that_was_not_measured_is_an_error(run):
    with pytest.raises(RecordError, match="no 'rho'"):
        run()[0].results["quality"].values("rho")


def test_a_step_is_a_function_that_the_sources_have(package, profile, run_dir):
    steps = Steps(profile, run_dir, "cpu")
    with pytest.raises(TypeError, match="no function of a module of okml"):
        steps("mine", lambda: StepResult())
    with pytest.raises(TypeError, match="What a set holds is not known"):
        steps("set", package.steps.serving, {1, 2})


def test_a_claim_is_recorded_as_it_stood_when_it_was_measured(run, monkeypatch):
    claim = """
- id: space_time.quality
  text: {en: It is better., ru: Так лучше.}
  source: okml
  metric: r2
  expect: {any: "> 0.5"}
- id: space_time.other
  text: {en: It is other., ru: Это другое.}
  source: okml
  metric: unmeasured
  expect: {any: "> 0.5"}
"""
    days = iter(("2020-01-01T00:00:00+00:00", "2020-01-02T00:00:00+00:00"))
    monkeypatch.setattr(run_module, "now", lambda: next(days))
    bars = []
    for bar in ("> 0.5", "> 0.1"):  # lowered once the result was seen
        claims = parse_claims(claim.replace("> 0.5", bar), "space_time")
        monkeypatch.setattr(run_module, "load_claims", lambda chapter, claims=claims: claims)
        steps, _ = run()
        record = steps.record({})
        assert record.provenance.started == "2020-01-01T00:00:00+00:00"
        bars.append(
            (record.claims["space_time.quality"].bar, record.claims["space_time.other"].bar)
        )
    assert bars == [("> 0.5", "> 0.5"), ("> 0.5", "> 0.1")]
