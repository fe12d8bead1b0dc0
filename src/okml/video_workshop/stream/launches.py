"""Launches of items, simulated: a log whose films were all there from the start has almost none."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions, Ints
from okml.video_workshop.stream.settings import LaunchSettings
from okml.video_workshop.stream.windows import DAY

# Ages of an item at an event, in days: the first week, the next three, later (spec E6).
AGES = {"0-7 d": (0, 7), "8-28 d": (7, 28), "older": (28, float("inf"))}


@dataclass(frozen=True, eq=False)
class Launched:
    """A log in which some items are not there before their launch.

    Attributes:
        interactions: Without the events before launches; numbers of users and items are kept.
        born: When each item appears, seconds, ``[items + 1]``: its launch, or its first event.
        chosen: The items that were given a launch, ascending.
    """

    interactions: Interactions
    born: Ints
    chosen: Ints


def simulate_launches(
    interactions: Interactions, settings: LaunchSettings, days: float, seed: int = 0
) -> Launched:
    """Give some items a launch period, and delete what happened to them before it.

    Args:
        interactions: The log.
        settings: How many items, and when.
        days: Length of a period.
        seed: Of the draws.

    Raises:
        ParameterError: If no item has enough events.
    """
    rng = np.random.default_rng(seed)
    counts = np.bincount(interactions.items, minlength=interactions.item_count + 1)
    able = np.flatnonzero(counts >= settings.least_events)
    amount = round(settings.share * len(able))
    if not amount:
        raise ParameterError(
            f"A share {settings.share} of {len(able)} items with {settings.least_events} events "
            "or more launches nobody.",
            "Lower launches.least_events.",
        )
    chosen = np.sort(rng.choice(able, amount, replace=False))
    period = rng.integers(settings.first, settings.last + 1, amount)
    launch = np.full(interactions.item_count + 1, np.iinfo(np.int64).min)
    launch[chosen] = interactions.times.min() + period * round(days * DAY)
    kept = keep_events(interactions, interactions.times >= launch[interactions.items])
    born = np.full(interactions.item_count + 1, np.iinfo(np.int64).max)
    np.minimum.at(born, kept.items, kept.times)
    born[chosen] = launch[chosen]
    return Launched(kept, born, chosen)


def keep_events(interactions: Interactions, kept: NDArray[np.bool_]) -> Interactions:
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


def age_slices(ages: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    """Return, for each slice of :data:`AGES`, which of the ages (days, ``[r]``) are in it."""
    return {name: (ages >= low) & (ages < high) for name, (low, high) in AGES.items()}


def days_until_found(days: NDArray[np.float64], share: float) -> float | None:
    """Return the age by which a share of the items was found; None if that never came.

    Args:
        days: How old each item was when it was found, infinite where it never was, ``[k]``.
        share: Above 0.
    """
    found = float(np.sort(days)[int(np.ceil(share * len(days))) - 1])
    return found if np.isfinite(found) else None


def found_by(days: NDArray[np.float64], age: float) -> float:
    """Return the share of items that were found by an age, given their ``days`` ``[k]``."""
    return float((days < age).mean())


def days_to_first_hit(
    hits: NDArray[np.bool_], ages: NDArray[np.float64], items: Ints, chosen: Ints
) -> NDArray[np.float64]:
    """Return how old each item was at its first correct recommendation.

    Args:
        hits: Whether each row's target was recommended, ``[r]``.
        ages: Of the target at that moment, days, ``[r]``.
        items: The targets, ``[r]``.
        chosen: Items to look at, ``[k]``.

    Returns:
        Days, ``[k]``; infinite where it never was.
    """
    first = np.full(max(int(items.max(initial=0)), int(chosen.max(initial=0))) + 1, np.inf)
    np.minimum.at(first, items[hits], ages[hits])
    return first[chosen]
