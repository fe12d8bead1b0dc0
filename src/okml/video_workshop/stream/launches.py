"""Simulated launches of items, because a log of films that all existed before has almost none."""

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
    """A log without the events of some items before their launch.

    Attributes:
        interactions: Remaining events; numbers of users and items are kept.
        born: Time in seconds at which each item appears, ``[items + 1]``: its launch, or its first
            event.
        chosen: Items with a simulated launch, ascending.
    """

    interactions: Interactions
    born: Ints
    chosen: Ints


def simulate_launches(
    interactions: Interactions, settings: LaunchSettings, days: float, seed: int = 0
) -> Launched:
    """Draw a launch period for some items, and delete their events before it.

    Args:
        interactions: Event log of all users.
        settings: Number of launched items and the range of their periods.
        days: Length of a period in days.
        seed: Random seed of items and periods.

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
    """Return the mask of the ages (days, ``[r]``) in each slice of :data:`AGES`."""
    return {name: (ages >= low) & (ages < high) for name, (low, high) in AGES.items()}


def days_until_found(days: NDArray[np.float64], share: float) -> float | None:
    """Return the age by which a share of the items was found, or None if it never was.

    Args:
        days: Age of each item in days when it was found, ``[k]``; infinite if it never was.
        share: Share of the items, above 0.
    """
    found = float(np.sort(days)[int(np.ceil(share * len(days))) - 1])
    return found if np.isfinite(found) else None


def found_by(days: NDArray[np.float64], age: float) -> float:
    """Return the share of items that were found by an age, given their ``days`` ``[k]``."""
    return float((days < age).mean())


def days_to_first_hit(
    hits: NDArray[np.bool_], ages: NDArray[np.float64], items: Ints, chosen: Ints
) -> NDArray[np.float64]:
    """Return the age of each item at its first correct recommendation.

    Args:
        hits: Whether each row's target was recommended, ``[r]``.
        ages: Age of the target at that moment in days, ``[r]``.
        items: Target of each row, ``[r]``.
        chosen: Items whose ages are returned, ``[k]``.

    Returns:
        Age in days, ``[k]``; infinite without a correct recommendation.
    """
    first = np.full(max(int(items.max(initial=0)), int(chosen.max(initial=0))) + 1, np.inf)
    np.minimum.at(first, items[hits], ages[hits])
    return first[chosen]
