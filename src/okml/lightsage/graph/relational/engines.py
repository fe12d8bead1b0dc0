"""DuckDB and Spark as engines that count edges and merge graphs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import util
from pathlib import Path
from typing import Any

import ibis
import polars as pl
from ibis import Table

from okml.errors import ResourceError
from okml.lightsage.graph.edges import in_order
from okml.lightsage.graph.events import Cleaned
from okml.lightsage.graph.relational.cleaning import clean
from okml.lightsage.graph.relational.cosine import cosine
from okml.lightsage.graph.relational.edges import symmetric
from okml.lightsage.graph.relational.merging import merge
from okml.lightsage.graph.relational.search import search_edges
from okml.lightsage.graph.relational.strong import strong_edges
from okml.lightsage.graph.relational.swing import swing, user_items
from okml.lightsage.graph.relational.weak import weak_edges
from okml.lightsage.graph.settings import CleaningSettings, Engine, GraphSettings, Part

Backend = Any  # ibis.backends.BaseBackend


def connect(engine: Engine, folder: Path) -> Backend:
    """Start an engine, or use the active Spark session.

    Args:
        engine: Name of the engine, ``duckdb`` or ``spark``.
        folder: Folder for data spilled from memory.

    Raises:
        ResourceError: If Spark is requested and not installed.
    """
    if engine == "duckdb":
        backend = ibis.duckdb.connect()
        backend.raw_sql(f"SET temp_directory = '{folder}'")
        backend.raw_sql("SET enable_progress_bar = false")
        return backend
    if util.find_spec("pyspark") is None:
        raise ResourceError("Spark is not installed.", "pip install 'okml[spark]', and Java 17.")
    return ibis.pyspark.connect(_session(folder))


def _session(folder: Path) -> Any:
    from pyspark.sql import SparkSession

    # Local defaults; on a cluster, the session of spark-submit is active.
    builder = SparkSession.builder.appName("okml").config("spark.ui.enabled", "false")
    if SparkSession.getActiveSession() is None:
        builder = (
            builder.master("local[*]")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.sql.warehouse.dir", str(folder))
            .config("spark.ui.showConsoleProgress", "false")
        )
    return builder.getOrCreate()


def expression(part: Part, log: Table, settings: GraphSettings) -> Table:
    """Return the edges of one kind as an expression over a cleaned log."""
    match part:
        case "strong":
            return strong_edges(log, settings.strong)
        case "search":
            return search_edges(log, settings.search)
        case "swing":
            return swing(user_items(log, settings.swing), settings.swing)
        case "cosine":
            return cosine(user_items(log, settings.swing), settings.swing)
        case "weak":
            return weak_edges(log)


def edges_with(
    engine: Engine, parts: Sequence[Part], log: Cleaned, settings: GraphSettings
) -> dict[Part, pl.DataFrame]:
    """Return the edges of several kinds, counted by DuckDB or Spark."""
    with _tables(engine, log) as table:
        return {part: _fetched(expression(part, table, settings)) for part in parts}


def merged_with(
    engine: Engine, log: Cleaned, settings: GraphSettings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the merged graph, symmetric and directed; only K edges per item enter this process.

    Returns:
        Two frames of ``merging.MERGED_SCHEMA``.
    """
    with _tables(engine, log) as table:
        return _merged(table, settings)


def merged_from_files(
    engine: Engine, files: str, settings: GraphSettings, cleaning: CleaningSettings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Clean a log in files and merge its graph; the log does not enter this process.

    Args:
        engine: Name of the engine, DuckDB or Spark.
        files: Parquet files with the columns of ``relational.cleaning``: a path, a pattern, or an
            address that the engine can read.
        settings: Rules, caps and priorities.
        cleaning: Settings of the cleaning.

    Returns:
        The frames of ``merged_with``.

    Raises:
        DataError: If columns or values are invalid.
    """
    with _engine(engine) as backend, clean(backend.read_parquet(files), cleaning).cache() as log:
        return _merged(log, settings)


def _merged(log: Table, settings: GraphSettings) -> tuple[pl.DataFrame, pl.DataFrame]:
    parts = settings.merge.parts
    with ExitStack() as kept:
        counted: dict[Part, Table] = {
            part: kept.enter_context(expression(part, log, settings).cache()) for part in parts
        }
        both_ways: dict[Part, Table] = {part: symmetric(counted[part]) for part in parts}
        return _fetched(merge(both_ways, settings.merge)), _fetched(merge(counted, settings.merge))


@contextmanager
def _tables(engine: Engine, log: Cleaned) -> Iterator[Table]:
    """Pass a log to an engine as a file, which both engines read out of core."""
    with tempfile.TemporaryDirectory(prefix="okml-log-") as folder, _engine(engine) as backend:
        path = Path(folder) / "log.parquet"
        log.frame.write_parquet(path)
        yield backend.read_parquet(str(path))


@contextmanager
def _engine(engine: Engine) -> Iterator[Backend]:
    """Start an engine with a spill folder; DuckDB is closed at the end, a Spark session stays."""
    with tempfile.TemporaryDirectory(prefix="okml-spill-") as folder:
        backend = connect(engine, Path(folder))
        try:
            yield backend
        finally:
            if engine == "duckdb":
                backend.disconnect()


def _fetched(edges: Table) -> pl.DataFrame:
    frame = pl.DataFrame(edges.to_pyarrow())
    if "part" in frame.columns:
        frame = frame.with_columns(pl.col("part").cast(pl.UInt8))
    return in_order(frame)
