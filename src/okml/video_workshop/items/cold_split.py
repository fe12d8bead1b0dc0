"""Some items are kept from training altogether, and then asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.popularity import item_counts
from okml.seqrec.rows import Mask, Rows
from okml.video_workshop.items.settings import ItemsSettings

DRAW = 0  # seed of the held-out items, the same for all seeds of a training


@dataclass(frozen=True, eq=False)
class ColdSplit:
    """What training sees, and what is asked afterwards.

    Attributes:
        log: All events but those of held-out items, which no history has.
        train_end: One past the newest event that training sees of each user, ``[u]``.
        counts: Events of each item in training, ``[items + 1]``.
        rows: Histories, as ends in ``log``.
        targets: What followed each of them, ``[r]``: an item, held out or not.
    """

    log: Interactions
    train_end: Ints
    counts: Ints
    rows: Rows
    targets: Ints

    @property
    def known(self) -> Mask:
        """Items with an event in training, ``[items + 1]``: those that exist for it."""
        known: Mask = self.counts > 0
        return known

    @property
    def cold(self) -> Mask:
        """Items without one, ``[items + 1]``; the padding is no item."""
        cold: Mask = self.counts == 0
        cold[0] = False
        return cold

    @property
    def asked_cold(self) -> Mask:
        """Rows whose target is cold, ``[r]``."""
        return self.cold[self.targets]


def hold_out_items(interactions: Interactions, settings: ItemsSettings) -> ColdSplit:
    """Take a share of the items out of training and of all histories, and ask for them too.

    Users are cut one by one, at the share of their events, so that enough targets are cold; this
    is not a forecast of a later time.

    Raises:
        ParameterError: If no item has enough events, or nothing is left to ask.
    """
    rng = np.random.default_rng(DRAW)
    enough = np.flatnonzero(item_counts(interactions) >= settings.least_events)
    drawn = rng.permutation(enough)[: round(settings.held_out * len(enough))]
    if not len(drawn):
        raise ParameterError(
            f"No item with {settings.least_events} events can be held out.",
            "Lower least_events or take more users.",
        )
    kept = ~np.isin(interactions.items, drawn)
    before = np.concatenate([[0], np.cumsum(kept)])  # events of the log before each event
    log = replace(
        interactions,
        items=interactions.items[kept],
        times=interactions.times[kept],
        values=None if interactions.values is None else interactions.values[kept],
        offsets=before[interactions.offsets],
    )
    lengths = np.diff(interactions.offsets)
    cut = interactions.offsets[1:] - np.ceil(settings.test_share * lengths).astype(np.int64)
    train_end = before[cut]
    user = interactions.users()
    place = np.arange(len(interactions))
    asked = place[(place >= cut[user]) & (before[place] > log.offsets[user])]  # have a history
    rows = Rows(user[asked].astype(np.int32), before[asked])
    targets = interactions.items[asked].astype(np.int64)
    split = ColdSplit(log, train_end, item_counts(log, train_end), rows, targets)
    return _fewer_warm(split, settings.warm_targets, rng)


def _fewer_warm(split: ColdSplit, most: int | None, rng: np.random.Generator) -> ColdSplit:
    """Return the split with at most so many warm targets; cold ones, which are few, all stay."""
    warm = np.flatnonzero(~split.asked_cold)
    if not len(warm) or len(warm) == len(split.targets):
        raise ParameterError("There must be warm and cold targets.", "Take more users.")
    if most is None or len(warm) <= most:
        return split
    chosen = np.sort(
        np.concatenate([np.flatnonzero(split.asked_cold), rng.permutation(warm)[:most]])
    )
    return replace(split, rows=split.rows.take(chosen), targets=split.targets[chosen])


def by_count(counts: NDArray[np.int64]) -> NDArray[np.str_]:
    """Return the slice of each item: ``head`` has the top fifth of all events, ``tail`` the last.

    Args:
        counts: Events in training, ``[items + 1]``.

    Returns:
        ``head`` (first 20 % of events), ``torso`` (next 60 %), ``tail``, or ``cold``.
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    share = np.empty(len(counts))
    share[order] = before / max(counts.sum(), 1)
    slices = np.where(share < 0.2, "head", np.where(share < 0.8, "torso", "tail"))
    return np.where(counts > 0, slices, "cold")
