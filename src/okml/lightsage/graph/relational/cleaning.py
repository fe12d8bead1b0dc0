"""Relational cleaning of a log; ``okml.lightsage.graph.events`` explains the rules.

A table has no order of rows, so a log in files has the column ``row`` (Int64) as well, an event's
place in the log, which orders events of a session with equal times.
"""

from __future__ import annotations

import ibis
from ibis import Table, _

from okml.errors import DataError
from okml.lightsage.graph.events import (
    ACTIONS,
    CLEANED_SCHEMA,
    EVENT_SCHEMA,
    MINUTE,
    PAGES,
    SOURCES,
)
from okml.lightsage.graph.settings import CleaningSettings


def clean(log: Table, settings: CleaningSettings) -> Table:
    """Return a cleaned log, ``CLEANED_SCHEMA``, with sessions filled in if the log has none.

    A filled-in session has the number of its first row.

    Args:
        log: Log with the columns of ``EVENT_SCHEMA`` and ``row``.
        settings: Settings of the cleaning.

    Raises:
        DataError: If columns or values are invalid.
    """
    has_sessions = _check(log)
    timed = log.filter(log.ts.notnull())
    if settings.most_user_events is not None:
        counted = timed.mutate(events=_.count().over(ibis.window(group_by="user")))
        timed = counted.filter(_.events <= settings.most_user_events).drop("events")
    if not has_sessions:
        timed = _with_sessions(timed, settings.session_gap_minutes)

    first = ibis.window(group_by=["session", "ts", "item", "action"], order_by="row")
    once = timed.mutate(copy=ibis.row_number().over(first)).filter(_.copy == 0)
    kind = ibis.ifelse(once.action.isin(PAGES), "page", once.action)
    in_order = ibis.window(group_by="session", order_by=["ts", "row"])
    with_kind = once.mutate(kind=kind)
    with_before = with_kind.mutate(
        item_before=with_kind.item.lag().over(in_order),
        kind_before=with_kind.kind.lag().over(in_order),
    )
    repeats = (_.item == _.item_before) & (_.kind == _.kind_before)
    kept = with_before.filter(~repeats.fill_null(False))
    placed = kept.mutate(position=ibis.row_number().over(in_order).cast("int32"))
    return placed.select(*CLEANED_SCHEMA.names())


def _with_sessions(events: Table, gap_minutes: float) -> Table:
    in_order = ibis.window(group_by="user", order_by=["ts", "row"])
    waited = events.mutate(before=events.ts.lag().over(in_order))
    starts = waited.before.isnull() | (waited.ts - waited.before > gap_minutes * MINUTE)
    marked = waited.mutate(first_row=ibis.ifelse(starts, waited.row, ibis.null("int64")))
    so_far = ibis.cumulative_window(group_by="user", order_by=["ts", "row"])
    # Row numbers need not increase with time, so a session's first row is no running maximum.
    visits = marked.mutate(visit=marked.first_row.notnull().cast("int64").sum().over(so_far))
    of_visit = ibis.window(group_by=["user", "visit"])
    return visits.mutate(session=visits.first_row.max().over(of_visit))


def _check(log: Table) -> bool:
    """Check all values in one pass, and return whether the log has sessions."""
    missing = [name for name in (*EVENT_SCHEMA, "row") if name not in log.columns]
    if missing:
        raise DataError(
            f"The log has no column {missing[0]!r}.",
            "okml.lightsage.graph.events says what a log holds; `row` is the order of its rows.",
        )
    bad = {
        "user": (log.user >= 0),
        "session": log.session.isnull() | (log.session >= 0),
        "ts": log.ts.isnull() | (log.ts >= 0),
        "item": log.item >= 0,
        "action": log.action.isin(ACTIONS),
        "source": log.source.isin(SOURCES),
        "from_item": log.from_item >= -1,
        "query": log["query"] >= -1,
        "episode": log.episode >= -1,
        "row": log.row.notnull(),
    }
    counts = log.aggregate(
        [(~good).fill_null(True).cast("int64").sum().name(name) for name, good in bad.items()]
        + [
            log.count().name("events"),
            log.session.count().name("with_session"),
            log.ts.count().name("with_time"),
        ]
    )
    row = counts.to_pyarrow().to_pylist()[0]
    if not row["with_time"]:
        raise DataError(f"None of the log's {row['events']:,} events has a time.")
    for name in bad:
        if row[name]:
            raise DataError(
                f"{row[name]:,} events of the log have an impossible {name}.",
                "okml.lightsage.graph.events says what each column may hold.",
            )
    if row["with_session"] not in (0, row["events"]):
        raise DataError(
            "Some events have a session and some have none.",
            "Fill the column `session` everywhere, or leave it empty everywhere.",
        )
    return bool(row["with_session"])
