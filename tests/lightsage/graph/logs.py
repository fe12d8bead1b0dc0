"""Shop logs for tests: written by hand, random, or drawn by hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st

from okml.lightsage.graph.events import ACTIONS, EVENT_SCHEMA, SOURCES

MINUTE = 60_000
DEFAULTS: dict[str, Any] = {
    "user": 0,
    "session": 0,
    "ts": 0,
    "action": "click",
    "source": "other",
    "from_item": -1,
    "query": -1,
    "episode": -1,
}


def events(*rows: dict[str, Any]) -> pl.DataFrame:
    """Return a log; rows name what differs from a click on an item from an unknown place."""
    return pl.DataFrame([DEFAULTS | row for row in rows], schema=EVENT_SCHEMA, orient="row")


def visit(*items: int, session: int = 0, user: int = 0, **more: Any) -> list[dict[str, Any]]:
    """Return rows of one session, one item a minute."""
    return [
        {"user": user, "session": session, "ts": place * MINUTE, "item": item, **more}
        for place, item in enumerate(items)
    ]


def random_log(count: int, users: int, items: int, seed: int) -> pl.DataFrame:
    """Return a log with all kinds of events, popular and rare items, ties and repeats."""
    rng = np.random.default_rng(seed)
    session = rng.integers(2 * users, size=count)
    return pl.DataFrame(
        {
            "user": session % users,
            "session": session,
            "ts": session * 7 * 60 * MINUTE + rng.integers(40, size=count) * MINUTE,
            "item": (rng.random(count) ** 2 * items).astype(int),
            "action": rng.choice(ACTIONS, count, p=[0.35, 0.35, 0.2, 0.1]),
            "source": rng.choice(SOURCES, count),
            "from_item": rng.integers(-1, items, size=count),
            "query": rng.integers(-1, 6, size=count),
            "episode": rng.integers(-1, max(1, count // 4), size=count),
        },
        schema=EVENT_SCHEMA,
    )


logs = st.builds(
    random_log,
    count=st.integers(1, 60),
    users=st.integers(1, 6),
    items=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)


@st.composite
def user_item_pairs(draw: st.DrawFn, users: int = 8, items: int = 8) -> pl.DataFrame:
    """Draw distinct pairs of user and item, with gaps between the numbers."""
    pairs = draw(
        st.sets(st.tuples(st.integers(0, users - 1), st.integers(0, items - 1)), max_size=40)
    )
    return pl.DataFrame(
        sorted((3 * user + 1, 2 * item) for user, item in pairs),
        schema={"user": pl.Int64, "item": pl.Int32},
        orient="row",
    )
