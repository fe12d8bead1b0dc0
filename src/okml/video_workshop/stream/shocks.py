"""A simulated shock: from one period on, most events of the favorite genres are deleted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions
from okml.seqrec.metrics import Floats
from okml.video_workshop.stream.launches import keep_events
from okml.video_workshop.stream.settings import ShockSettings
from okml.video_workshop.stream.windows import DAY

Genres = Sequence[Sequence[str]]  # of each item, in the order of item numbers from 1


def favorite_genres(interactions: Interactions, genres: Genres, amount: int) -> tuple[str, ...]:
    """Return the genres with the most events, in descending order, ties by name.

    An event counts for all genres of its item.
    """
    events = np.bincount(interactions.items, minlength=interactions.item_count + 1)[1:]
    counts: Counter[str] = Counter()
    for number, names in zip(events.tolist(), genres, strict=True):
        counts.update(dict.fromkeys(names, number))
    return tuple(sorted(counts, key=lambda name: (-counts[name], name))[:amount])


def simulate_shock(
    interactions: Interactions, genres: Genres, settings: ShockSettings, days: float, seed: int = 0
) -> Interactions:
    """Delete most events of items with a favorite genre from a period on.

    Args:
        interactions: Event log of all users.
        genres: Genres of each item, in the order of item numbers from 1.
        settings: Number of favorite genres, share of kept events, and period of the shock.
        days: Length of a period in days.
        seed: Random seed of the kept events.

    Raises:
        ParameterError: If there is no event after the shock, or no item has a genre.
    """
    favorites = set(favorite_genres(interactions, genres, settings.genres))
    start = interactions.times.min() + settings.period * round(days * DAY)
    late = interactions.times >= start
    if not late.any() or not favorites:
        raise ParameterError(
            f"No event of a genre comes after a shock in period {settings.period}.",
            "Set stream.weekly.shock.period lower, or take a log whose items have genres.",
        )
    has = np.array([False, *(bool(favorites & set(names)) for names in genres)])
    drawn = np.random.default_rng(seed).random(len(interactions)) < settings.kept
    return keep_events(interactions, ~late | ~has[interactions.items] | drawn)


def windows_until(values: Floats, level: float) -> int | None:
    """Return the number of windows up to and including the first that reaches a level.

    Args:
        values: Metric in each window after the shock, ``[w]``.
        level: Level that the metric must reach.

    Returns:
        The number; None if no window reaches it.
    """
    reached: NDArray[np.intp] = np.flatnonzero(values >= level)
    return int(reached[0]) + 1 if len(reached) else None
