"""Relational weak edges; see ``okml.lightsage.graph.weak``."""

from __future__ import annotations

import ibis
from ibis import Table, _

from okml.lightsage.graph.events import DAY, PAGES


def weak_edges(log: Table) -> Table:
    """Count the user-days on which one page followed another in a session."""
    pages = log.filter(log.action.isin(PAGES))
    in_order = ibis.window(group_by="session", order_by="position")
    steps = pages.select(
        "user",
        item=pages.item.lag().over(in_order),
        neighbor="item",
        day=(pages.ts // DAY).cast("int64"),
    ).filter(_.item.notnull() & (_.item != _.neighbor))
    counted = steps.distinct().group_by("item", "neighbor").agg(weight=_.count())
    return counted.mutate(weight=_.weight.cast("float64"))
