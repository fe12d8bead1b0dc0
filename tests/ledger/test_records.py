import json
import math
import statistics

import pytest

from okml.code_key import code_key_of
from okml.errors import RecordError
from okml.ledger import DataUsed, Run, read_record, save_record
from okml.runtime import commit


@pytest.fixture
def record(profile):
    run = Run(profile, "cpu")
    run.log("r2", 0.5, seed=0, unit="R²", interval=(0.4, 0.8))
    run.log("r2", 0.7, seed=1, interval=(0.4, 0.8))
    run.log("undefined", math.nan)
    run.table("curve", {"layer": [0, 1], "r2": [0.123456789, math.nan]}, caption="by layer")
    run.used({"cities": DataUsed(source="wheel", sha256="0" * 64)})
    return run.record(seconds=1.25)


def test_a_record_survives_the_disk(record, tmp_path):
    record.write(tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == record


def test_mean_and_spread_match_the_statistics_module(record):
    metric = record.metrics["r2"]
    assert metric.mean == statistics.mean([0.5, 0.7])
    assert metric.sd == statistics.stdev([0.5, 0.7])
    assert (metric.low, metric.high) == (0.4, 0.8)
    assert math.isnan(record.metrics["undefined"].mean)
    assert record.metrics["undefined"].sd is None


def test_tables_keep_five_digits_and_null_for_nan(record):
    assert record.tables["curve"].columns == {"layer": [0, 1], "r2": [0.12346, None]}


def test_provenance_names_code_machine_and_data(record, profile):
    assert record.settings_sha256 == profile.fingerprint()
    assert record.provenance.commit == commit()
    assert record.provenance.code == code_key_of(profile.chapter)
    assert record.provenance.environment.cores >= 1
    assert record.provenance.peak_memory_gib > 0
    assert record.provenance.data["cities"].source == "wheel"


@pytest.mark.parametrize("damage", ["number", "cut", "schema", "field", "list"])
def test_damaged_records_are_refused_by_name(record, tmp_path, damage):
    path = tmp_path / "record.json"
    record.write(path)
    text = path.read_text()
    values = json.loads(text)
    if damage == "number":
        text = text.replace("0.5", "0.9")
    elif damage == "cut":
        text = text[: len(text) // 2]
    elif damage == "schema":
        text = json.dumps({**values, "schema_version": 99})
    elif damage == "field":
        text = json.dumps({**values, "extra": 1})
    else:
        text = "[]"
    path.write_text(text)
    with pytest.raises(RecordError) as caught:
        read_record(path)
    assert str(path) in str(caught.value)


def test_the_same_seed_is_not_recorded_twice(profile):
    run = Run(profile, "cpu")
    run.log("r2", 0.5, seed=0)
    with pytest.raises(RecordError, match="twice for seed 0"):
        run.log("r2", 0.6, seed=0)


def test_all_seeds_have_one_interval(profile):
    run = Run(profile, "cpu")
    run.log("r2", 0.5, seed=0, interval=(0.4, 0.8))
    with pytest.raises(RecordError, match="several intervals"):
        run.log("r2", 0.6, seed=1, interval=(0.5, 0.9))


def test_uneven_columns_are_refused(profile):
    with pytest.raises(RecordError, match="different lengths"):
        Run(profile, "cpu").table("t", {"a": [1], "b": [1, 2]})


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("OKML_ROOT", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "changes", "published"),
    [("smoke", {}, False), ("cpu", {}, True), ("cpu", {"width": 9}, False)],
)
def test_only_stated_settings_reach_the_results(profile, checkout, name, changes, published):
    stated = profile.override({"name": name})
    made = Run(stated.override(changes), "cpu").record(1.0)
    path = save_record(made, stated, checkout / "run")
    assert (path == checkout / "results" / "space_time" / f"{name}.json") is published
    assert read_record(path) == made
