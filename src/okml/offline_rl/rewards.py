"""The reward functions of the MDP, by name.

The paper's definition is not known to us, so the reward is a setting. ``click_buy`` and ``like``
have the same scale, 0.2 for an ordinary event and 1 for a wanted one, so that a temperature has the
same meaning for both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import polars as pl

from okml.errors import DataError

RewardKind = Literal["click_buy", "rating", "like", "centered", "constant"]

ORDINARY, WANTED = 0.2, 1.0
LIKED_STARS = 4.0  # least stars of a like


def _click_buy(frame: pl.DataFrame) -> pl.Expr:
    """Return 0.2 for a click and 1 for a purchase, as in SQN, SA2C and CCQL."""
    return pl.when(pl.col("kind") == "purchase").then(WANTED).otherwise(ORDINARY)


def _rating(frame: pl.DataFrame) -> pl.Expr:
    """Return the rating as a share of five stars."""
    return pl.col("value") / 5


def _like(frame: pl.DataFrame) -> pl.Expr:
    """Return 1 for four stars or more, 0.2 for fewer."""
    return pl.when(pl.col("value") >= LIKED_STARS).then(WANTED).otherwise(ORDINARY)


def _centered(frame: pl.DataFrame) -> pl.Expr:
    """Return half the rating less three stars, -1.25 to 1, the only kind with negative values."""
    return (pl.col("value") - 3) / 2


def _constant(frame: pl.DataFrame) -> pl.Expr:
    """Return 0.2 for every event, so that the return measures the rest of the session."""
    return pl.lit(ORDINARY)


_RULES: dict[RewardKind, tuple[Callable[[pl.DataFrame], pl.Expr], bool]] = {
    "click_buy": (_click_buy, False),
    "rating": (_rating, True),
    "like": (_like, True),
    "centered": (_centered, True),
    "constant": (_constant, False),
}


def with_rewards(frame: pl.DataFrame, kind: RewardKind) -> pl.DataFrame:
    """Return events with their reward in the column ``value``, float32.

    Args:
        frame: Columns ``kind`` and ``value`` as in :mod:`okml.data.logs.schema`.
        kind: The name of the reward function.

    Raises:
        DataError: If the reward needs ratings and an event has none.
    """
    rule, needs_value = _RULES[kind]
    if needs_value and (missing := frame["value"].null_count()):
        raise DataError(
            f"The reward {kind!r} is made of ratings, and {missing:,} events have none.",
            "Use the reward 'click_buy' or 'constant' for logs of clicks.",
        )
    return frame.with_columns(rule(frame).cast(pl.Float32).alias("value"))


def is_wanted(kind: RewardKind) -> float:
    """Return the least reward of a wanted event: a purchase, a like, four stars."""
    return {"rating": LIKED_STARS / 5, "centered": (LIKED_STARS - 3) / 2}.get(kind, WANTED)
