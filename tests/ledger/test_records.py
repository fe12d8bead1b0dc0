import hashlib
import json
import math
import shutil
import statistics

import pytest

from okml.code_key import code_key_of
from okml.errors import RecordError
from okml.experiment import MOST_ROWS
from okml.ledger import (
    DataUsed,
    Run,
    estimate_over_seeds,
    load_claims,
    load_record,
    read_record,
    save_record,
)
from okml.paths import results_dir
from okml.runtime import commit


@pytest.fixture
def record(profile):
    run = Run(profile, "cpu")
    run.measure("r2", estimate_over_seeds({0: 0.5, 1: 0.7}, n=20, over="names"), "R²")
    run.compare("r2", "undefined", estimate_over_seeds({0: 0.5, 1: 0.75}))
    run.log("undefined", math.nan)
    columns = {
        "layer": [0, 1],
        "r2": [0.123456789, math.nan],
        "values": [[0.123456789, math.inf], []],
    }
    run.table("curve", columns)
    run.data["cities"] = DataUsed(source="wheel", sha256="0" * 64)
    return run.record(seconds=1.25)


def test_a_record_survives_the_disk(record, tmp_path):
    record.write(tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == record


def test_mean_and_spread_match_the_statistics_module(record):
    metric = record.metrics["r2"]
    assert metric.mean == statistics.mean([0.5, 0.7])
    assert metric.sd == statistics.stdev([0.5, 0.7])
    assert metric.low < 0.5 < 0.7 < metric.high
    assert math.isnan(record.metrics["undefined"].mean)
    assert record.metrics["undefined"].sd is None


def test_tables_keep_five_digits_and_null_for_nan(record):
    assert record.tables["curve"].columns == {
        "layer": [0, 1], "r2": [0.12346, None], "values": [[0.12346, None], []],
    }  # fmt: skip


def test_provenance_names_code_machine_and_data(record, profile):
    assert record.settings_sha256 == profile.fingerprint()
    assert record.provenance.commit == commit()
    assert record.provenance.code == code_key_of(profile.chapter)
    assert record.provenance.environment.cores >= 1
    assert record.provenance.peak_memory_gib > 0
    assert record.provenance.data["cities"].source == "wheel"


def test_a_run_that_keeps_what_another_computed_has_its_memory_too(record, profile, tmp_path):
    run = Run(profile, "cpu")
    run.include_peak_of_earlier_run(tmp_path)  # there is no record of another
    alone = run.record(seconds=1)
    assert 0 < alone.provenance.peak_memory_gib < 500
    larger = record.provenance.model_copy(update={"peak_memory_gib": 512.0})
    earlier = record.model_copy(update={"provenance": larger})
    earlier.model_copy(update={"sha256": earlier.digest()}).write(tmp_path / "record.json")
    run.include_peak_of_earlier_run(tmp_path)
    assert run.record(seconds=1).provenance.peak_memory_gib == 512


@pytest.mark.parametrize(
    "damage",
    [lambda text: text.replace("0.5", "0.9"), lambda text: text.replace("{", '{"extra": 1, ', 1)],
    ids=["number", "field"],
)
def test_a_record_that_was_edited_is_refused_by_name(record, tmp_path, damage):
    path = tmp_path / "record.json"
    record.write(path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(RecordError) as caught:
        read_record(path)
    assert str(path) in str(caught.value)


def test_a_record_keeps_the_claims_as_they_stood(record, tmp_path):
    record.write(tmp_path / "record.json")
    kept = read_record(tmp_path / "record.json").claims
    for claim in load_claims(record.chapter):
        if claim.metric is not None:
            assert kept[claim.id].metric == claim.metric
            assert kept[claim.id].bar == claim.bar("smoke")
            assert (kept[claim.id].control is None) is (claim.control is None)


def signed(values):
    body = {key: value for key, value in values.items() if key != "sha256"}
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return {**body, "sha256": hashlib.sha256(text.encode()).hexdigest()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"profile": "gpu"}, "not those of the settings"),
        ({"seeds": [0, 1, 2]}, "not those of the settings"),
        ({"settings_sha256": "0" * 64}, "not the hash of the settings"),
        ({"metrics": {"r2": {"values": {"0": float("inf")}}}}, "not finite"),
    ],
)
def test_a_signed_record_that_contradicts_itself_is_refused(record, tmp_path, change, message):
    path = tmp_path / "record.json"
    record.write(path)
    path.write_text(json.dumps(signed({**json.loads(path.read_text()), **change})))
    with pytest.raises(RecordError, match=message):
        read_record(path)


def test_a_record_of_the_first_schema_is_still_read(record, tmp_path):
    path = tmp_path / "record.json"
    record.write(path)
    values = json.loads(path.read_text())
    old = {key: value for key, value in values.items() if key not in ("claims", "differences")}
    old |= {"schema_version": 1, "metrics": {"r2": {"values": {"0": 0.5}, "low": 0.4, "high": 0.6}}}
    path.write_text(json.dumps(signed(old)))
    assert read_record(path).metrics["r2"].interval is None


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


@pytest.mark.parametrize("place", ["space_time/gpu", "strec/cpu"])
def test_a_record_in_the_place_of_another_is_refused(profile, checkout, place):
    stated = profile.override({"name": "cpu"})
    path = save_record(Run(stated, "cpu").record(1.0), stated, checkout / "run")
    copy = checkout / "results" / f"{place}.json"
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(path, copy)
    with pytest.raises(RecordError, match="is the record of space_time at cpu"):
        load_record(*place.split("/"))
    assert load_record("space_time", "cpu") is not None


# What a record cut, and why a reader is not misled.
CUT = {
    ("space_time", "night", "places"),  # points of a map, in the order of their draw
    ("space_time", "night", "years"),
    ("add", "night", "distances"),  # the figure is of the first image set, which comes first
    ("add", "night", "training_curves"),  # the notebook says what is missing, as of the next
}


def test_no_table_of_a_record_was_cut_but_those_that_are_known():
    full = {
        (path.parent.name, path.stem, name)
        for path in results_dir().glob("*/*.json")
        if path.parent.name != "benchmarks"
        for name, table in read_record(path).tables.items()
        if table.columns and len(next(iter(table.columns.values()))) >= MOST_ROWS
    }
    assert full == CUT
