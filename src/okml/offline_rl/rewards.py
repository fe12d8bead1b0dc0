"""The reward functions of the MDP, by name.

The paper's definition is not known to us, so the reward is a setting. ``click_buy`` and ``like``
have the same scale, 0.2 for an ordinary event and 1 for a wanted one, so that a temperature has the
same meaning for both.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from okml.errors import DataError

RewardKind = Literal["click_buy", "like", "rating"]

ORDINARY, WANTED = 0.2, 1.0
LIKED_STARS = 4.0  # least stars of a like


def with_rewards(frame: pl.DataFrame, kind: RewardKind) -> pl.DataFrame:
    """Return events with their reward in the column ``value``, float32.

    Args:
        frame: Columns ``kind`` and ``value`` as in :mod:`okml.data.logs.schema`.
        kind: ``click_buy``: 1 for a purchase and 0.2 for a click, as in SQN, SA2C and CCQL;
            ``like``: 1 for four stars or more, 0.2 for fewer; ``rating``: a share of five stars.

    Raises:
        DataError: If the reward needs ratings and an event has none.
    """
    if kind != "click_buy" and (missing := frame["value"].null_count()):
        raise DataError(
            f"The reward {kind!r} is made of ratings, and {missing:,} events have none.",
            "Use the reward 'click_buy' for logs of clicks.",
        )
    stars, bought = pl.col("value"), pl.col("kind") == "purchase"
    reward = {
        "click_buy": pl.when(bought).then(WANTED).otherwise(ORDINARY),
        "like": pl.when(stars >= LIKED_STARS).then(WANTED).otherwise(ORDINARY),
        "rating": stars / 5,
    }[kind]
    return frame.with_columns(reward.cast(pl.Float32).alias("value"))


def least_wanted(kind: RewardKind) -> float:
    """Return the least reward of a wanted event: a purchase, a like, four stars."""
    return LIKED_STARS / 5 if kind == "rating" else WANTED
