from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from polars.testing import assert_frame_equal

from okml.lightsage.graph.clicks import search_edges
from okml.lightsage.graph.events import clean
from okml.lightsage.graph.settings import SearchSettings
from tests.lightsage.graph import reference
from tests.lightsage.graph.logs import events, logs, visit


def episode(number: int, *items: int, query: int = 0, **more: Any) -> list[dict[str, Any]]:
    return visit(
        *items, session=number, episode=number, query=query, **({"source": "search"} | more)
    )


def edges(*rows: dict[str, Any], **more: Any) -> dict[tuple[int, int], float]:
    found = search_edges(clean(events(*rows)), SearchSettings(**more))
    return {(i, j): weight for i, j, weight in found.rows()}


def test_every_item_of_an_episode_hands_out_one() -> None:
    found = edges(*episode(0, 1, 2, 3))
    assert found == {(i, j): 0.5 for i in (1, 2, 3) for j in (1, 2, 3) if i != j}


def test_episodes_add_up_and_clicks_in_one_episode_do_not() -> None:
    rows = [*episode(0, 1, 2, 1), *episode(1, 1, 2)]
    assert edges(*rows) == {(1, 2): 2.0, (2, 1): 2.0}


def test_one_query_of_two_users_links_nothing() -> None:
    assert edges(*episode(0, 1, query=7), *episode(1, 2, query=7)) == {}


@pytest.mark.parametrize("change", [{"source": "feed"}, {"action": "cart"}])
def test_only_pages_opened_from_results_count(change: dict[str, str]) -> None:
    assert edges(*episode(0, 1, 2, **change)) == {}


def test_crawls_through_results_make_no_pairs() -> None:
    assert edges(*episode(0, *range(21))) == {}
    assert len(edges(*episode(0, *range(20)))) == 20 * 19
    assert edges(*episode(0, 1, 2, 3), most_items=2) == {}


@given(logs)
def test_random_logs_give_the_edges_of_the_plain_definition(log: pl.DataFrame) -> None:
    cleaned = clean(log)
    chosen = SearchSettings(most_items=4)
    expected = reference.frame(reference.search(cleaned, chosen))
    assert_frame_equal(search_edges(cleaned, chosen), expected, check_exact=True)
