from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given

from okml.lightsage.graph.clicks import strong_edges, transitions, weak_edges
from okml.lightsage.graph.events import clean
from okml.lightsage.graph.settings import StrongSettings
from tests.lightsage.graph import reference
from tests.lightsage.graph.logs import MINUTE, events, logs, visit

ALL = StrongSettings(rules=("page_click", "cart_after_page", "next_page"))
DAY = 24 * 60 * MINUTE


def edges(rows: list[dict[str, Any]], *rules: str, **more: Any) -> list[tuple[int, int, float]]:
    found = strong_edges(clean(events(*rows)), StrongSettings(rules=rules, **more))
    return found.rows()


def page_click(ts: int = 0, user: int = 0, session: int = 0, **more: Any) -> dict[str, Any]:
    return {"ts": ts, "user": user, "session": session, "item": 2, "source": "pdp_rec",
            "from_item": 1, **more}  # fmt: skip


def test_a_click_among_a_pages_recommendations_is_an_edge_from_the_page() -> None:
    assert edges([page_click()], "page_click") == [(1, 2, 1.0)]


@pytest.mark.parametrize(
    "change", [{"source": "feed"}, {"from_item": -1}, {"from_item": 2}, {"action": "purchase"}]
)
def test_other_clicks_are_no_page_clicks(change: dict[str, Any]) -> None:
    assert edges([page_click(**change)], "page_click") == []


def test_a_user_counts_once_a_day_and_users_and_days_add_up() -> None:
    rows = [
        page_click(ts=0),
        {"ts": MINUTE, "item": 9},
        page_click(ts=2 * MINUTE),
        page_click(ts=DAY, session=1),
        page_click(ts=0, user=1, session=2),
    ]
    assert edges(rows, "page_click") == [(1, 2, 3.0)]


def order(*items: int, session: int = 0, **more: Any) -> list[dict[str, Any]]:
    return [{"item": item, "session": session, "action": "purchase", **more} for item in items]


def test_products_of_one_order_share_its_weight_both_ways() -> None:
    rows = [*order(1, 2, 3), *order(1, 2, session=1, user=1), *order(4, 5, 6, 7, session=2)]
    pairs = {(1, 2): 1.5, (2, 1): 1.5, **dict.fromkeys([(1, 3), (3, 1), (2, 3), (3, 2)], 0.5)}
    found = {(i, j): weight for i, j, weight in edges(rows, "same_order", order_items=3)}
    assert found == pairs  # the order of four is too large


def test_pages_and_orders_of_others_make_no_pairs_of_an_order() -> None:
    rows = [*order(1), *order(2, session=1), {"item": 3}, *order(1, session=2, action="cart")]
    assert edges(rows, "same_order") == []


def test_a_cart_counts_for_the_pages_just_before_it() -> None:
    rows = [*visit(1, 2, 3, 4), {"ts": 4 * MINUTE, "item": 4, "action": "cart"}]
    assert edges(rows, "cart_after_page") == [(2, 4, 2.0), (3, 4, 2.0)]
    assert edges(rows, "cart_after_page", cart_steps=1) == []


def test_a_cart_long_after_the_page_is_no_evidence() -> None:
    rows = [{"item": 1}, {"ts": 31 * MINUTE, "item": 2, "action": "cart"}]
    assert edges(rows, "cart_after_page") == []
    assert edges(rows, "cart_after_page", cart_minutes=31) == [(1, 2, 2.0)]


def test_a_query_in_between_breaks_the_link() -> None:
    searched = {"ts": MINUTE, "item": 2, "source": "search", "query": 5, "episode": 0}
    cart = {"ts": 2 * MINUTE, "item": 2, "action": "cart"}
    assert edges([{"item": 1}, searched, cart], "cart_after_page") == []
    # Two clicks on the results of one query have no new query between them.
    first = {"item": 1, "source": "search", "query": 5, "episode": 0}
    assert edges([first, searched, cart], "cart_after_page") == [(1, 2, 2.0)]


def test_the_next_page_counts_only_when_its_place_is_unknown_and_soon() -> None:
    assert edges(visit(1, 2), "next_page") == [(1, 2, 1.0)]
    assert edges(visit(1, 2, source="feed"), "next_page") == []
    late = [{"item": 1}, {"ts": 6 * MINUTE, "item": 2}]
    assert edges(late, "next_page") == []
    assert edges([{"item": 1}, {"item": 2, "session": 1}], "next_page") == []


def test_a_transition_that_two_rules_see_has_the_larger_weight() -> None:
    rows = [{"item": 1}, page_click(ts=MINUTE), {"ts": 2 * MINUTE, "item": 2, "action": "cart"}]
    found = transitions(clean(events(*rows)), ALL)
    assert found.rows() == [(0, 1, 2, 0, 2.0)]


def test_no_rule_makes_no_edges() -> None:
    assert edges(visit(1, 2)) == []


@given(logs)
def test_random_logs_give_the_edges_of_the_plain_definition(log: pl.DataFrame) -> None:
    cleaned = clean(log)
    expected = reference.frame(reference.strong(cleaned, ALL))
    assert strong_edges(cleaned, ALL).equals(expected)


def test_any_page_after_another_counts_once_a_user_and_day() -> None:
    rows = [*visit(1, 2, 1, 2, source="feed"), *visit(1, 2, session=1, user=1)]
    assert weak_edges(clean(events(*rows))).rows() == [(1, 2, 2.0), (2, 1, 1.0)]


@given(logs)
def test_random_logs_give_the_weak_edges_of_the_plain_definition(log: pl.DataFrame) -> None:
    cleaned = clean(log)
    assert weak_edges(cleaned).equals(reference.frame(reference.weak(cleaned)))
