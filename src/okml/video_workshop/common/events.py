"""Parts of an event log: some of its events, the ends of histories, the first events of items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.rows import Mask


def keep_events(interactions: Interactions, kept: Mask) -> Interactions:
    """Return some of the events, ``kept`` ``[e]``; users and items keep their numbers."""
    before = np.concatenate([[0], np.cumsum(kept)])
    values = interactions.values
    return replace(
        interactions,
        items=interactions.items[kept],
        times=interactions.times[kept],
        values=None if values is None else values[kept],
        offsets=before[interactions.offsets].astype(np.int64),
    )


def ends_of(interactions: Interactions, early: Mask) -> Ints:
    """Return one past each user's newest ``early`` event ``[e]``, which no late one precedes."""
    before = np.concatenate([[0], np.cumsum(early)])
    return interactions.offsets[:-1] + np.diff(before[interactions.offsets])


def first_of_items(interactions: Interactions, values: Ints) -> Ints:
    """Return the smallest of the values ``[e]`` of each item's events, ``[items + 1]``.

    It is the largest integer for padding and for items without events.
    """
    found = np.full(interactions.item_count + 1, np.iinfo(np.int64).max)
    np.minimum.at(found, interactions.items, values)
    return found
