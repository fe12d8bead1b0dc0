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
SESSION_GAP = 30 * MINUTE  # of inactivity that ends a session
MOST_USER_EVENTS = 20_000


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
    timed = events.filter(pl.col("ts").is_not_null())
    if timed.is_empty():
        raise DataError(
            f"None of the log's {events.height:,} events has a time.",
            "Put each event's place in its session into `ts`, in milliseconds.",
        )
    people = timed
    if most_user_events is not None:
        people = timed.filter(pl.len().over("user") <= most_user_events)
        if people.is_empty():
            raise DataError(
                f"Every user has more than {most_user_events:,} events, as robots do.",
                "Raise most_user_events, or set it to None.",
            )
    return _without_repeats(_with_sessions(people))


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
    if events["session"].null_count() < events.height:
        raise DataError(
            "Some events have a session and some have none.",
            "Fill the column `session` everywhere, or leave it empty everywhere.",
        )
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
