"""One definition, several engines: equal rows on the golden log and on random ones.

Spark needs Java and the extra ``spark``; without them its tests are skipped, unless
``OKML_REQUIRE_SPARK`` says that they must run.
"""

from __future__ import annotations

import os
import shutil
from importlib import util

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from polars.testing import assert_frame_equal

from okml.errors import ResourceError
from okml.lightsage.graph import GraphSettings, MergeSettings, build_graph, clean
from okml.lightsage.graph.build import edges_of
from okml.lightsage.graph.merging import merge
from okml.lightsage.graph.relational import engines
from okml.lightsage.graph.relational.engines import edges_with, merged_with
from okml.lightsage.graph.settings import Engine
from tests.lightsage.graph import golden
from tests.lightsage.graph.logs import logs, random_log


def _spark_is_missing() -> bool:
    if os.environ.get("OKML_REQUIRE_SPARK"):
        return False
    return util.find_spec("pyspark") is None or shutil.which("java") is None


spark = [
    pytest.mark.slow,
    pytest.mark.skipif(_spark_is_missing(), reason="needs Java and the extra `spark`"),
]
TABLES = ["duckdb", pytest.param("spark", marks=spark)]
ALL = ["memory", *TABLES]


def test_the_golden_edges_are_those_of_the_plain_definitions() -> None:
    assert_frame_equal(golden.by_definition(), golden.edges(), rel_tol=0, abs_tol=1e-12)
    counts = golden.edges().group_by("part").len()
    assert counts["len"].min() > 20  # every kind has something to compare


@pytest.mark.parametrize("engine", ALL, indirect=True)
def test_the_golden_log_gives_the_golden_edges(engine: Engine) -> None:
    log = clean(golden.log())
    if engine == "memory":
        found = {part: edges_of(part, log, golden.SETTINGS) for part in golden.PARTS}
    else:
        found = edges_with(engine, golden.PARTS, log, golden.SETTINGS)
    for part in golden.PARTS:
        assert_frame_equal(
            found[part].select("item", "neighbor", "weight"),
            golden.edges_of(part),
            rel_tol=0,
            abs_tol=1e-9,
        )


@pytest.mark.parametrize("engine", TABLES, indirect=True)
def test_the_golden_log_gives_the_golden_graph(engine: Engine) -> None:
    merged, directed = merged_with(engine, clean(golden.log()), golden.SETTINGS)
    for name, found in (("merged", merged), ("directed", directed)):
        assert_frame_equal(found.drop("part"), golden.edges_of(name), rel_tol=0, abs_tol=1e-9)


def test_memory_gives_the_golden_graph() -> None:
    log = clean(golden.log())
    counted = {part: edges_of(part, log, golden.SETTINGS) for part in golden.PARTS}
    found = merge(counted, golden.SETTINGS.merge).drop("part")
    assert_frame_equal(found, golden.edges_of("directed"), rel_tol=0, abs_tol=1e-9)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(logs)
def test_random_logs_give_the_same_edges_in_duckdb(log: pl.DataFrame) -> None:
    same_edges("duckdb", log)


@pytest.mark.slow
@pytest.mark.skipif(_spark_is_missing(), reason="needs Java and the extra `spark`")
@pytest.mark.usefixtures("small_spark")
@settings(max_examples=2, deadline=None)
@given(logs)
def test_random_logs_give_the_same_edges_in_spark(log: pl.DataFrame) -> None:
    same_edges("spark", log)


def same_edges(engine: Engine, log: pl.DataFrame) -> None:
    cleaned = clean(log)
    chosen = golden.SETTINGS.model_copy(
        update={"swing": golden.SETTINGS.swing.model_copy(update={"most_item_users": 3,
                                                                  "least_pairs": 1})}
    )  # fmt: skip
    found = edges_with(engine, golden.PARTS, cleaned, chosen)
    for part in golden.PARTS:
        expected = edges_of(part, cleaned, chosen)
        assert_frame_equal(found[part].select(expected.columns), expected, rel_tol=0, abs_tol=1e-9)


@pytest.mark.parametrize("engine", TABLES, indirect=True)
def test_a_larger_log_gives_the_same_union_graph(engine: Engine) -> None:
    chosen = GraphSettings(merge=MergeSettings(how="union", most_neighbors=5))
    log = clean(random_log(3_000, 80, 150, seed=2))
    expected, found = build_graph(log, 150, chosen), build_graph(log, 150, chosen, engine)
    assert np.array_equal(found.neighbors, expected.neighbors)
    assert np.array_equal(found.parts, expected.parts)
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-7)
    assert_frame_equal(found.directed, expected.directed, rel_tol=0, abs_tol=1e-9)


def test_a_missing_spark_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.util, "find_spec", lambda name: None)
    with pytest.raises(ResourceError, match=r"not installed[\s\S]*okml\[spark\]"):
        edges_of("weak", clean(golden.log()), engine="spark")
