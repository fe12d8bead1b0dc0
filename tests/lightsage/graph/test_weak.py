from __future__ import annotations

import polars as pl
from hypothesis import given, settings

from okml.lightsage.graph.events import clean
from okml.lightsage.graph.weak import weak_edges
from tests.lightsage.graph import reference
from tests.lightsage.graph.logs import events, logs, visit


def test_any_page_after_another_counts_once_a_user_and_day() -> None:
    rows = [*visit(1, 2, 1, 2, source="feed"), *visit(1, 2, session=1, user=1)]
    assert weak_edges(clean(events(*rows))).rows() == [(1, 2, 2.0), (2, 1, 1.0)]


@settings(max_examples=60, deadline=None)
@given(logs)
def test_random_logs_give_the_edges_of_the_plain_definition(log: pl.DataFrame) -> None:
    cleaned = clean(log)
    assert weak_edges(cleaned).equals(reference.frame(reference.weak(cleaned.frame)))
