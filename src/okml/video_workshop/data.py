"""The log of the small scales: ratings as typed actions on films, in the order of events."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.data.logs import load
from okml.errors import DataError
from okml.seqrec.interactions import Interactions, Ints, TieRule
from okml.video_workshop.settings import DataSettings

# What a user did with an item; 0 is padding. MovieLens has stars and no impressions, so nothing
# here is a click.
ACTIONS = ("dislike", "neutral", "like", "love")
_ACTION_OF_STARS = np.array([0, 1, 1, 2, 3, 4])  # 1 or 2 stars: dislike, 3: neutral, 4: like, 5


@dataclass(frozen=True, eq=False)
class Watched:
    """A log of typed actions.

    Attributes:
        interactions: All events; users from 0, items from 1.
        actions: Number of the action of each event, 1 to ``len(ACTIONS)``, int64 ``[e]``.
        films: A row an item, in the order of item numbers: ``title``, ``genres``.
    """

    interactions: Interactions
    actions: Ints
    films: pl.DataFrame

    @cached_property
    def liked(self) -> NDArray[np.bool_]:
        """Whether an event is a like or a love, ``[e]``."""
        return self.actions >= 1 + ACTIONS.index("like")

    @cached_property
    def first_seen(self) -> Ints:
        """Time of the first event of each item, ``[items + 1]``; of padding the largest."""
        found = np.full(self.interactions.item_count + 1, np.iinfo(np.int64).max)
        np.minimum.at(found, self.interactions.items, self.interactions.times)
        return found


def load_watched(settings: DataSettings, tie_rule: TieRule = "file", seed: int = 0) -> Watched:
    """Read a log of ratings.

    Args:
        settings: Which log, and how many of its users.
        tie_rule: Order of the events of a user that share a second: of MovieLens-100K, 76 %.
        seed: Of the rule ``random``.

    Raises:
        DataError: If the log has no titles or no stars.
    """
    log = load(settings.log)
    if log.titles is None:
        raise DataError(f"{log.name} has no titles.", "Choose a log of MovieLens.")
    frame = log.frame
    if settings.users is not None:
        users = frame["user"].unique(maintain_order=True).sort()
        frame = frame.filter(pl.col("user").is_in(users.sample(settings.users, seed=0).implode()))
    interactions = Interactions.from_frame(frame, tie_rule, seed)
    if interactions.values is None:
        raise DataError(f"The events of {log.name} have no stars.", "Choose a log of MovieLens.")
    numbered = pl.DataFrame({"item": interactions.item_ids})
    films = numbered.join(log.titles, on="item", how="left", maintain_order="left")
    return Watched(
        interactions, _ACTION_OF_STARS[np.floor(interactions.values).astype(np.int64)], films
    )
