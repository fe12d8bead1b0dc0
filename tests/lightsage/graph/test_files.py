"""Logs in files, cleaned and counted by an engine without passing through memory."""

from __future__ import annotations

from pathlib import Path

import ibis
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from okml.errors import DataError, ParameterError
from okml.lightsage.graph import build_graph, build_graph_from_files, clean
from okml.lightsage.graph.events import CLEANED_SCHEMA
from okml.lightsage.graph.relational import cleaning
from okml.lightsage.graph.settings import CleaningSettings, Engine
from tests.lightsage.graph import golden
from tests.lightsage.graph.logs import events, logs
from tests.lightsage.graph.test_engines import TABLES

FEW = CleaningSettings(most_user_events=25)


def numbered(log: pl.DataFrame) -> pl.DataFrame:
    return log.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))


def cleaned_by_duckdb(log: pl.DataFrame, chosen: CleaningSettings) -> pl.DataFrame:
    table = ibis.memtable(numbered(log).sample(fraction=1, shuffle=True, seed=0))
    found = pl.DataFrame(cleaning.clean(table, chosen).to_pyarrow())
    return found.select(pl.col(name).cast(kind) for name, kind in CLEANED_SCHEMA.items())


@settings(max_examples=15, deadline=None)
@given(logs)
def test_random_logs_are_cleaned_alike(log: pl.DataFrame) -> None:
    some = log.with_columns(ts=pl.when(pl.col("item") == 1).then(None).otherwise("ts"))
    try:
        expected = clean(some, FEW).frame
    except DataError:
        return
    assert_frame_equal(cleaned_by_duckdb(some, FEW).sort("session", "position"), expected)


def test_sessions_are_made_alike() -> None:
    log = golden.log().with_columns(session=pl.lit(None, pl.Int64))
    columns = ["user", "ts", "item", "action", "position"]
    found = cleaned_by_duckdb(log, CleaningSettings())
    expected = clean(log).frame
    assert found["session"].n_unique() == expected["session"].n_unique()
    assert_frame_equal(found.select(columns).sort(columns), expected.select(columns).sort(columns))


@pytest.mark.parametrize("engine", TABLES, indirect=True)
def test_a_graph_from_files_is_the_graph_from_memory(engine: Engine, tmp_path: Path) -> None:
    log = numbered(golden.log()).sample(fraction=1, shuffle=True, seed=1)
    log.head(300).write_parquet(tmp_path / "a.parquet")
    log.tail(-300).write_parquet(tmp_path / "b.parquet")
    found = build_graph_from_files(
        str(tmp_path / "*.parquet"), golden.ITEMS, golden.SETTINGS, engine=engine
    )
    expected = build_graph(clean(golden.log()), golden.ITEMS, golden.SETTINGS)
    assert np.array_equal(found.neighbors, expected.neighbors)
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-7)


def test_the_engine_in_memory_reads_no_files() -> None:
    with pytest.raises(ParameterError, match="reads no files"):
        build_graph_from_files("log.parquet", 1, engine="memory")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"item": -1}, "1 events of the log have an impossible item"),
        ({"action": "look"}, "an impossible action"),
        ({"episode": None}, "an impossible episode"),
        ({"session": None}, "some have none"),
    ],
)
def test_bad_values_are_errors(bad: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        cleaned_by_duckdb(events({"item": 1}, {"item": 2, **bad}), FEW)


def test_missing_columns_and_times_are_errors() -> None:
    with pytest.raises(DataError, match="no column 'row'"):
        cleaning.clean(ibis.memtable(events({"item": 1})), FEW)
    with pytest.raises(DataError, match="None of the log's 1 events has a time"):
        cleaned_by_duckdb(events({"item": 1, "ts": None}), FEW)
