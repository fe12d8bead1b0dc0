"""The one form of a shop's log: a row an event, and what is put right before edges are counted.

==============  =======  =====================================================================
column          type     meaning
==============  =======  =====================================================================
``user``        Int64    who; from 0. A session where a log knows no users
``session``     Int64    visit, unique in the log; ``clean`` makes sessions where it is null
``ts``          Int64    milliseconds, from 0; null where the log has none
``item``        Int32    what; from 0
``action``      String   ``view`` and ``click`` open the item's page; ``cart``; ``purchase``
``source``      String   where: ``pdp_rec`` (recommendations on a page), ``search``, ``feed``, ``other``
``from_item``   Int32    item whose page hosted the click; -1: none or unknown
``query``       Int64    words that were searched; -1: none
``episode``     Int32    one issued query with the clicks on its results, unique in the log; -1: none
==============  =======  =====================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from okml.lightsage.graph.settings import CleaningSettings

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
ACTIONS = ("view", "click", "cart", "purchase")
SOURCES = ("pdp_rec", "search", "feed", "other")


@dataclass(frozen=True)
class Cleaned:
    """A log that edges can be counted on, and what was dropped on the way.

    Attributes:
        frame: ``EVENT_SCHEMA`` and ``position`` (Int32), the place in the session from 0; ordered
            by session and position, no null.
        events: Rows that came in.
        without_time: Rows dropped because they have no time.
        robots: Users dropped because they have more events than a person can have.
        of_robots: Rows of those users.
        repeated: Rows dropped because they repeat the row before them: the same session, item and
            kind of action (opening the page, cart, purchase).
    """

    frame: pl.DataFrame
    events: int
    without_time: int
    robots: int
    of_robots: int
    repeated: int


def clean(events: pl.DataFrame, settings: CleaningSettings | None = None) -> Cleaned:
    """Check a log, split it into sessions, order it and drop what says nothing.

    Events of one session that share a time keep the order of their rows.

    Args:
        events: ``EVENT_SCHEMA``.
        settings: What is dropped.

    Raises:
        DataError: If columns or values are not of the form, or no event is left.
    """
    raise NotImplementedError
