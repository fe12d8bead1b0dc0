"""The schema of a shop's log, one row for each event, and its cleaning.

==============  =======  ========================================================================
column          type     meaning
==============  =======  ========================================================================
``user``        Int64    number of the user from 0; of the session if a log has no users
``session``     Int64    number of the visit, unique in the log; ``clean`` fills in nulls
``ts``          Int64    time in milliseconds from 0; null if unknown
``item``        Int32    number of the item from 0
``action``      String   ``view`` and ``click`` open the item's page; ``cart``; ``purchase``
``source``      String   place of the click: ``pdp_rec`` (recommendations on an item's page),
                         ``search``, ``feed``, ``other`` (unknown)
``from_item``   Int32    item on whose page the click was; -1: none or unknown
``query``       Int64    number of the query text; -1: none
``episode``     Int32    one issued query with the clicks on its results, unique in the log;
                         -1: none
==============  =======  ========================================================================
"""

from __future__ import annotations

from itertools import pairwise

import polars as pl

from okml.errors import DataError

EVENT_SCHEMA = pl.Schema(
    {
        "user": pl.Int64(),
        "session": pl.Int64(),
        "ts": pl.Int64(),
        "item": pl.Int32(),
        "action": pl.String(),
        "source": pl.String(),
        "from_item": pl.Int32(),
        "query": pl.Int64(),
        "episode": pl.Int32(),
    }
)
CLEANED_SCHEMA = pl.Schema({**EVENT_SCHEMA, "position": pl.Int32()})
ACTIONS = ("view", "click", "cart", "purchase")
PAGES = ("view", "click")  # actions that open an item's page
SOURCES = ("pdp_rec", "search", "feed", "other")
MINUTE = 60_000  # ms
DAY = 24 * 60 * MINUTE  # ms
SESSION_GAP = 30 * MINUTE  # the inactivity that ends a session
MOST_USER_EVENTS = 20_000
RANGE_EVENTS, MOST_RANGES = 2**16, 64  # events are sorted one range at a time


def clean(events: pl.DataFrame, most_user_events: int | None = MOST_USER_EVENTS) -> pl.DataFrame:
    """Check a log, split it into sessions, sort it and drop repeated events.

    Dropped are events without a time, all events of robots, duplicates (same session, time, item
    and action), and events of the same item and kind of action (page view, cart, purchase) as the
    one before in the session. Events of a session with equal times keep the order of their rows.

    Args:
        events: Log of events, ``EVENT_SCHEMA``.
        most_user_events: Number of events above which a user is dropped as a robot; None: never.

    Returns:
        Events and ``position``, the place in the session from 0, ``CLEANED_SCHEMA``; sorted by
        session and position, without nulls.

    Raises:
        DataError: If columns or values are invalid, or no event is left.
    """
    _check(events)
    timed = events if not events["ts"].null_count() else events.filter(pl.col("ts").is_not_null())
    if timed.is_empty():
        raise DataError(
            f"None of the log's {events.height:,} events has a time.",
            "Put each event's place in its session into `ts`, in milliseconds.",
        )
    people = _without_robots(timed, most_user_events)
    # A session is cleaned by itself, and one user's sessions follow from the user's events.
    missing = people["session"].null_count()
    if 0 < missing < people.height:
        raise DataError(
            "Some events have a session and some have none.",
            "Fill the column `session` everywhere, or leave it empty everywhere.",
        )
    key = "user" if missing else "session"
    parts: list[pl.DataFrame] = []
    sessions = 0
    for inside in _ranges(people[key]):
        part = _with_sessions(people.filter(inside))
        if key == "user" and part.height:
            part = part.with_columns(pl.col("session") + sessions)
            sessions = int(part["session"][-1]) + 1
        parts.append(_without_repeats(part))
    return pl.concat(parts)


def _without_robots(events: pl.DataFrame, most: int | None) -> pl.DataFrame:
    """Drop the events of users who have more than ``most``."""
    if most is None:
        return events
    robots = events.group_by("user").len().filter(pl.col("len") > most)["user"]
    if robots.is_empty():
        return events
    people = events.filter(~pl.col("user").is_in(robots.implode()))
    if people.is_empty():
        raise DataError(
            f"Every user has more than {most:,} events, as robots do.",
            "Raise most_user_events, or set it to None.",
        )
    return people


def _ranges(numbers: pl.Series) -> list[pl.Expr]:
    """Return conditions that cut a log by a column into ranges, which are sorted one by one."""
    low, high = int(numbers.min()), int(numbers.max()) + 1  # type: ignore[arg-type]
    pieces = min(MOST_RANGES, max(1, len(numbers) // RANGE_EVENTS))
    bounds = [low + (high - low) * piece // pieces for piece in range(pieces + 1)]
    return [
        pl.col(numbers.name).is_between(first, last, closed="left")
        for first, last in pairwise(bounds)
    ]


def _with_sessions(events: pl.DataFrame) -> pl.DataFrame:
    """Fill in missing sessions, which end after a gap without events."""
    if not events["session"].null_count():
        mixed = events.group_by("session").agg(pl.col("user").n_unique()).filter(pl.col("user") > 1)
        if mixed.height:
            raise DataError(
                f"Session {mixed['session'].sort()[0]} has events of several users.",
                "Number sessions across the whole log, not within a user.",
            )
        return events
    ordered = events.sort("user", "ts", maintain_order=True)
    starts = (pl.col("user") != pl.col("user").shift()) | (
        pl.col("ts") - pl.col("ts").shift() > SESSION_GAP
    )
    return ordered.with_columns(session=starts.fill_null(True).cum_sum().cast(pl.Int64) - 1)


def _without_repeats(events: pl.DataFrame) -> pl.DataFrame:
    """Sort events by session and time, drop repeats and number the remaining events."""
    delivered_once = events.unique(
        ["session", "ts", "item", "action"], keep="first", maintain_order=True
    )
    ordered = delivered_once.sort("session", "ts", maintain_order=True)
    kind = pl.when(pl.col("action").is_in(PAGES)).then(pl.lit("page")).otherwise(pl.col("action"))
    repeats = pl.all_horizontal(
        column == column.shift() for column in (pl.col("session"), pl.col("item"), kind)
    )
    kept = ordered.filter(~repeats.fill_null(False))
    position = pl.int_range(pl.len(), dtype=pl.Int32).over("session")
    return kept.with_columns(position=position).select(CLEANED_SCHEMA.names())


def _check(events: pl.DataFrame) -> None:
    if events.schema != EVENT_SCHEMA:
        raise DataError(
            f"A shop's log must have the columns {dict(EVENT_SCHEMA)}.",
            f"It has {dict(events.schema)}.",
        )
    if events.is_empty():
        raise DataError("The shop's log has no events.")
    checks = {
        "user": pl.col("user") >= 0,
        "session": pl.col("session").is_null() | (pl.col("session") >= 0),
        "ts": pl.col("ts").is_null() | (pl.col("ts") >= 0),
        "item": pl.col("item") >= 0,
        "action": pl.col("action").is_in(ACTIONS),
        "source": pl.col("source").is_in(SOURCES),
        "from_item": pl.col("from_item") >= -1,
        "query": pl.col("query") >= -1,
        "episode": pl.col("episode") >= -1,
    }
    first_bad = events.select(
        pl.arg_where(~good.fill_null(False)).min().alias(column) for column, good in checks.items()
    ).row(0, named=True)
    for column, row in first_bad.items():
        if row is not None:
            raise DataError(
                f"Row {row} of the shop's log has {column} = {events[column][row]!r}.",
                "okml.lightsage.graph.events says what each column may hold.",
            )
