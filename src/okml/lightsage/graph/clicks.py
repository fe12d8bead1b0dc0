"""Edges from clicks: strong transitions, items opened after one query, and consecutive pages."""

from __future__ import annotations

import polars as pl

from okml.lightsage.graph.edges import in_order, rounded
from okml.lightsage.graph.events import DAY, MINUTE, PAGES
from okml.lightsage.graph.settings import SearchSettings, StrongSettings

PAGE_CLICK, CART, NEXT_PAGE = 1.0, 2.0, 1.0  # weights
TRANSITION_SCHEMA = pl.Schema(
    {
        "user": pl.Int64(),
        "item": pl.Int32(),
        "neighbor": pl.Int32(),
        "day": pl.Int64(),
        "weight": pl.Float64(),
    }
)


def transitions(log: pl.DataFrame, settings: StrongSettings | None = None) -> pl.DataFrame:
    """Return the strong transitions: ``user, item, neighbor, day, weight``, one row for each day.

    A transition leads from the page of one item to another item; ``StrongSettings`` has the rules.
    Transitions of the test period are also the test pairs. A transition of several rules counts
    once, with the largest weight.
    """
    settings = settings or StrongSettings()
    frame = log.lazy().with_columns(queries=_queries_so_far(), day=pl.col("ts") // DAY)
    rules = {
        "page_click": lambda: [_page_clicks(frame)],
        "cart_after_page": lambda: _carts(frame, settings),
        "next_page": lambda: [_next_pages(frame, settings.page_minutes)],
        "same_order": lambda: [_same_orders(frame, settings.order_items)],
    }
    found = [part for rule in settings.rules for part in rules[rule]()]
    if not found:
        return TRANSITION_SCHEMA.to_frame()
    return (
        pl.concat(found)
        .filter(pl.col("item") != pl.col("neighbor"))
        .group_by("user", "item", "neighbor", "day")
        .agg(pl.col("weight").max())
        .sort("user", "item", "neighbor", "day")
        .collect()
    )


def strong_edges(log: pl.DataFrame, settings: StrongSettings | None = None) -> pl.DataFrame:
    """Return the strong edges: the sum of transitions over users and days."""
    moves = transitions(log, settings).group_by("item", "neighbor")
    return in_order(moves.agg(rounded(pl.col("weight").sum())))


def _queries_so_far() -> pl.Expr:
    """Count the queries issued in the log up to and including an event's own.

    A query is observed by the clicks on its results, so it begins with its first click in a
    session.
    """
    begins = (pl.col("episode") >= 0) & pl.struct("session", "episode").is_first_distinct()
    return begins.cum_sum()


def _before(column: str, step: int) -> pl.Expr:
    """Return a column's value ``step`` rows earlier, null if that row is in another session."""
    same = pl.col("session") == pl.col("session").shift(step)
    return pl.when(same).then(pl.col(column).shift(step)).alias(f"{column}_before")


def _transition(
    events: pl.LazyFrame, item: str | pl.Expr, neighbor: str | pl.Expr, weight: float
) -> pl.LazyFrame:
    return events.select("user", "day", item=item, neighbor=neighbor, weight=pl.lit(weight)).select(
        TRANSITION_SCHEMA.names()
    )


def _page_clicks(frame: pl.LazyFrame) -> pl.LazyFrame:
    clicks = frame.filter(
        pl.col("action").is_in(PAGES),
        pl.col("source") == "pdp_rec",
        pl.col("from_item") >= 0,
    )
    return _transition(clicks, "from_item", "item", PAGE_CLICK)


def _carts(frame: pl.LazyFrame, settings: StrongSettings) -> list[pl.LazyFrame]:
    steps = []
    for step in range(1, settings.cart_steps + 1):
        before = frame.with_columns(
            _before(column, step) for column in ("item", "action", "ts", "queries")
        )
        carts = before.filter(
            pl.col("action") == "cart",
            pl.col("action_before").is_in(PAGES),
            pl.col("ts") - pl.col("ts_before") <= settings.cart_minutes * MINUTE,
            pl.col("queries") == pl.col("queries_before"),
        )
        steps.append(_transition(carts, "item_before", "item", CART))
    return steps


def _next_pages(frame: pl.LazyFrame, minutes: float) -> pl.LazyFrame:
    pages = frame.filter(pl.col("action").is_in(PAGES)).with_columns(
        _before(column, 1) for column in ("item", "ts", "queries")
    )
    opened = pages.filter(
        pl.col("source") == "other",
        pl.col("ts") - pl.col("ts_before") <= minutes * MINUTE,
        pl.col("queries") == pl.col("queries_before"),
    )
    return _transition(opened, "item_before", "item", NEXT_PAGE)


def _same_orders(frame: pl.LazyFrame, most: int) -> pl.LazyFrame:
    bought = frame.filter(pl.col("action") == "purchase")
    lines = bought.group_by("session", "item").agg(pl.col("user", "day").first())
    return pairs_within(lines, "session", most).select(TRANSITION_SCHEMA.names())


def pairs_within(chosen: pl.LazyFrame, key: str, most: int) -> pl.LazyFrame:
    """Pair the items of each set C, both ways, with the weight 1 / (|C| - 1).

    Args:
        chosen: Rows of ``key`` and ``item``, each pair once; further columns are kept.
        key: Column that numbers the sets.
        most: Largest number of items of a set; larger ones are ignored.
    """
    size = pl.len().over(key).cast(pl.Int64)
    sets = chosen.with_columns(weight=1 / (size - 1), size=size).filter(
        pl.col("size").is_between(2, most)
    )
    pairs = sets.join(sets.select(key, neighbor="item"), on=key)
    return pairs.filter(pl.col("item") != pl.col("neighbor"))


def weak_edges(log: pl.DataFrame) -> pl.DataFrame:
    """Count the user-days on which one page followed another in a session.

    These edges of all consecutive pages are the baseline of the strong ones.
    """
    pages = log.lazy().filter(pl.col("action").is_in(PAGES))
    steps = (
        pages.with_columns(_before("item", 1))
        .filter(pl.col("item") != pl.col("item_before"))
        .select("user", item="item_before", neighbor="item", day=pl.col("ts") // DAY)
    )
    counted = steps.unique().group_by("item", "neighbor").agg(weight=pl.len().cast(pl.Float64))
    return in_order(counted.collect())


def search_edges(log: pl.DataFrame, settings: SearchSettings | None = None) -> pl.DataFrame:
    """Return the symmetric edges of items that one user opened from the results of one query.

    An episode with a set C of opened items adds 1 / (|C| - 1) to each ordered pair of them, so that
    each item has a total weight of 1 and long episodes do not dominate.
    """
    settings = settings or SearchSettings()
    clicks = log.lazy().filter(
        pl.col("action").is_in(PAGES), pl.col("source") == "search", pl.col("episode") >= 0
    )
    pairs = pairs_within(clicks.select("episode", "item").unique(), "episode", settings.most_items)
    counted = pairs.group_by("item", "neighbor").agg(weight=rounded(pl.col("weight").sum()))
    return in_order(counted.collect())
