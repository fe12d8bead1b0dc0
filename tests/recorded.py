"""Records as tests of what pages say read them."""

from __future__ import annotations

import polars as pl

from okml.ledger import RunRecord, load_record
from okml.profile import ProfileName

Tables = dict[str, pl.DataFrame]


def tables_of(record: RunRecord) -> Tables:
    """Return the tables of a record by name; a column may mix whole and other numbers."""
    return {
        name: pl.DataFrame(table.columns, strict=False, infer_schema_length=None)
        for name, table in record.tables.items()
    }


def recorded(chapter: str, profile: ProfileName) -> tuple[RunRecord, Tables]:
    """Return a record, and its tables by name."""
    found = load_record(chapter, profile)
    assert found is not None
    return found, tables_of(found)


def interval(record: RunRecord, name: str) -> tuple[float, float]:
    """Return the ends of a metric's interval."""
    metric = record.metrics[name]
    assert metric.low is not None
    assert metric.high is not None
    return metric.low, metric.high
