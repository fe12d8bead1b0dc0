"""What arithmetic demands of the recorded tables of costs."""

from __future__ import annotations

import polars as pl
import pytest

from okml.ledger import read_record
from okml.paths import repository_root

RECORDS = sorted((repository_root() / "results" / "strec").glob("*.json"))
FULL, LAST = "backbone, every query", "backbone, last query"


@pytest.fixture(params=RECORDS, ids=lambda path: path.stem)
def tables(request):
    found = read_record(request.param).tables
    return {name: pl.DataFrame(table.columns, strict=False) for name, table in found.items()}


def test_there_is_a_record():
    assert RECORDS


def test_a_smaller_sample_is_never_dearer(tables):
    rows = tables["sweep_costs"].sort("tokens", descending=True)
    for cost in ("time", "memory", "flops"):
        assert rows[cost].to_list() == sorted(rows[cost], reverse=True), cost


def test_one_query_is_never_dearer_than_all(tables):
    for table, column in (("published", "ms"), ("published", "saved MiB"), ("inference", "ms")):
        found = dict(tables[table].select("encoder", column).iter_rows())
        assert found[LAST] <= found[FULL], (table, column)


def test_one_query_is_never_dearer_at_any_length_and_in_a_batch_that_is_more_than_overhead(tables):
    serving = tables["serving"]
    largest = serving.filter(batch=serving["batch"].max())
    found = dict(largest.select("encoder", "p50 ms").iter_rows())
    assert found[LAST] <= found[FULL]
    costs = ("ms a history", "saved MiB a history")
    full, last = (
        tables["lengths"].filter(encoder=name).sort("length").select(costs) for name in (FULL, LAST)
    )
    assert len(full) == len(last) > 0
    for cost in costs:
        assert (last[cost] <= full[cost]).all(), cost


def test_an_encoder_is_never_dearer_than_with_its_scores(tables):
    rows = tables["inference"].drop_nulls("ms")
    assert (rows["ms encoder alone"] <= rows["ms"]).all()
