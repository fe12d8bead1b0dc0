"""Cold-start split: some items are held out of training and appear among the test targets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.popularity import item_counts
from okml.seqrec.rows import Mask, Rows
from okml.video_workshop.common.events import keep_events
from okml.video_workshop.settings.items import ItemsSettings

DRAW = 0  # seed that draws the held-out items, the same for all training seeds


@dataclass(frozen=True, eq=False)
class ColdSplit:
    """The training events and the test rows.

    Attributes:
        log: All events except those of held-out items, which appear in no history.
        train_end: One past the newest training event of each user, ``[u]``.
        counts: Events of each item in training, ``[items + 1]``.
        rows: Test histories, as ends in ``log``.
        targets: Item that followed each history, held out or not, ``[r]``.
    """

    log: Interactions
    train_end: Ints
    counts: Ints
    rows: Rows
    targets: Ints

    @property
    def known(self) -> Mask:
        """Items with an event in training, ``[items + 1]``."""
        known: Mask = self.counts > 0
        return known

    @property
    def cold(self) -> Mask:
        """Items without an event in training, ``[items + 1]``; the padding is no item."""
        cold: Mask = self.counts == 0
        cold[0] = False
        return cold

    @property
    def asked_cold(self) -> Mask:
        """Rows whose target is cold, ``[r]``."""
        return self.cold[self.targets]


def hold_out_items(interactions: Interactions, settings: ItemsSettings) -> ColdSplit:
    """Hold a share of the items out of training and of all histories, and test on them too.

    Each user's events are cut at a fixed share, so that enough targets are cold; this
    is not a forecast of a later time.

    Raises:
        ParameterError: If no item has enough events, or no test row is left.
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
    log = keep_events(interactions, kept)
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
    """Return the split with at most ``most`` warm targets; all cold ones, which are few, stay."""
    warm = np.flatnonzero(~split.asked_cold)
    if not len(warm) or len(warm) == len(split.targets):
        raise ParameterError("There must be warm and cold targets.", "Take more users.")
    if most is None or len(warm) <= most:
        return split
    chosen = np.sort(
        np.concatenate([np.flatnonzero(split.asked_cold), rng.permutation(warm)[:most]])
    )
    return replace(split, rows=split.rows.take(chosen), targets=split.targets[chosen])
