"""Filters that sequential recommenders apply before all else."""

from __future__ import annotations

import polars as pl

from okml.errors import ParameterError


def k_core(frame: pl.DataFrame, *, users: int, items: int) -> pl.DataFrame:
    """Return the largest subset in which every user and every item has enough events.

    Dropping a rare item can leave a user with too few events, and vice versa, so both rules are
    repeated until nothing changes; the result does not depend on their order. Repeated events
    count, as in the common libraries.

    Args:
        frame: Events with the columns ``user`` and ``item``.
        users: The least number of events of a user.
        items: The least number of events of an item.

    Returns:
        The remaining events in their order; possibly none.

    Raises:
        ParameterError: If a least number is negative.
    """
    if users < 0 or items < 0:
        raise ParameterError(f"A k-core of users={users} and items={items} means nothing.")
    while True:
        enough = (pl.len().over("user") >= users) & (pl.len().over("item") >= items)
        kept = frame.filter(enough)
        if kept.height == frame.height:
            return kept
        frame = kept
