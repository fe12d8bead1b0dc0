"""Small logs, by hand and by hypothesis."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import strategies as st

from okml.seqrec.interactions import Interactions

# Few users, items and times, so that ties and repeats are the rule.
events = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 9), st.integers(0, 6)), min_size=1, max_size=60
)


def frame_of(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    """Make a log of (user, item, time) in file order."""
    users, items, times = zip(*rows, strict=True)
    return pl.DataFrame(
        {"user": [f"u{u}" for u in users], "item": [str(i) for i in items], "time": times},
        schema={"user": pl.String, "item": pl.String, "time": pl.Int64},
    )


def of_rows(rows: list[tuple[int, int, int]]) -> Interactions:
    """Make interactions of (user, item, time) in file order."""
    return Interactions.from_frame(frame_of(rows))


def of_lengths(lengths: list[int], items: int = 9, seed: int = 0) -> Interactions:
    """Make users with histories of the given lengths (at least 1), a second between events."""
    rng = np.random.default_rng(seed)
    rows = [
        (user, int(rng.integers(1, items + 1)), 1_000 + 10 * user + place)
        for user, length in enumerate(lengths)
        for place in range(length)
    ]
    # Every item appears, so that item i has the number i.
    rows += [(len(lengths), item, 5_000 + item) for item in range(1, items + 1)]
    return of_rows(rows)


lengths = st.lists(st.integers(1, 30), min_size=1, max_size=8)
