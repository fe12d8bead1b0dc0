"""Records as tests of what pages say read them."""

from __future__ import annotations

import polars as pl

from okml.ledger import RunRecord


def tables_of(record: RunRecord) -> dict[str, pl.DataFrame]:
    """Return the tables of a record by name; a column may mix whole and other numbers."""
    return {
        name: pl.DataFrame(table.columns, strict=False, infer_schema_length=None)
        for name, table in record.tables.items()
    }
