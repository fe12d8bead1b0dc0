"""Relational strong edges; ``okml.lightsage.graph.strong`` explains the rules."""

from __future__ import annotations

import ibis
from ibis import Table, _

from okml.lightsage.graph.events import DAY, MINUTE, PAGES
from okml.lightsage.graph.settings import StrongSettings
from okml.lightsage.graph.strong import BOUGHT, CART, NEXT_PAGE, PAGE_CLICK


def transitions(log: Table, settings: StrongSettings) -> Table:
    """Return ``user, item, neighbor, day, weight``, one row for each user, pair and day.

    Args:
        log: Cleaned log, ``CLEANED_SCHEMA``.
        settings: Rules of transitions, at least one.
    """
    in_episode = ibis.window(group_by=["session", "episode"])
    begins = (log.episode >= 0) & (log.position == log.position.min().over(in_episode))
    dated = log.mutate(begins=begins.cast("int64"), day=log.ts // DAY)
    so_far = ibis.cumulative_window(group_by="session", order_by="position")
    events = dated.mutate(queries=dated.begins.sum().over(so_far))
    rules = {
        "page_click": lambda: [_page_clicks(events)],
        "cart_after_page": lambda: [
            _cart(events, step, settings.cart_minutes) for step in range(1, settings.cart_steps + 1)
        ],
        "bought_together": lambda: [_bought(events, settings.most_bought)],
        "next_page": lambda: [_next_pages(events, settings.page_minutes)],
    }
    found = [part for rule in settings.rules for part in rules[rule]()]
    every = (ibis.union(*found) if len(found) > 1 else found[0]).filter(_.item != _.neighbor)
    return every.group_by("user", "item", "neighbor", "day").agg(weight=_.weight.max())


def strong_edges(log: Table, settings: StrongSettings) -> Table:
    """Return the sum of transitions over users and days."""
    return transitions(log, settings).group_by("item", "neighbor").agg(weight=_.weight.sum())


def _transition(events: Table, item: str, neighbor: str, weight: float) -> Table:
    return events.select(
        "user",
        item=events[item].cast("int32"),
        neighbor=events[neighbor].cast("int32"),
        day=events.day.cast("int64"),
        weight=ibis.literal(weight, "float64"),
    )


def _page_clicks(events: Table) -> Table:
    clicks = events.filter(_.action.isin(PAGES), _.source == "pdp_rec", _.from_item >= 0)
    return _transition(clicks, "from_item", "item", PAGE_CLICK)


def _lagged(events: Table, step: int, *columns: str) -> Table:
    """Add ``x_before`` for each column x: its value ``step`` rows earlier in the session."""
    in_order = ibis.window(group_by="session", order_by="position")
    before = {f"{name}_before": events[name].lag(step).over(in_order) for name in columns}
    return events.mutate(**before)


def _cart(events: Table, step: int, minutes: float) -> Table:
    carts = _lagged(events, step, "item", "action", "ts", "queries").filter(
        _.action == "cart",
        _.action_before.isin(PAGES),
        _.ts - _.ts_before <= minutes * MINUTE,
        _.queries == _.queries_before,
    )
    return _transition(carts, "item_before", "item", CART)


def _next_pages(events: Table, minutes: float) -> Table:
    pages = events.filter(_.action.isin(PAGES))
    opened = _lagged(pages, 1, "item", "ts", "queries").filter(
        _.source == "other",
        _.ts - _.ts_before <= minutes * MINUTE,
        _.queries == _.queries_before,
    )
    return _transition(opened, "item_before", "item", NEXT_PAGE)


def _bought(events: Table, most: int) -> Table:
    bought = (
        events.filter(_.action == "purchase")
        .group_by("session", "item")
        .agg(user=_.user.min(), day=_.day.min())
    )
    baskets = bought.mutate(size=_.count().over(ibis.window(group_by="session"))).filter(
        _.size <= most
    )
    others = baskets.select("session", other="item")
    return _transition(baskets.join(others, "session"), "item", "other", BOUGHT)
