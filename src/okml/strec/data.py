"""A log under its protocol: rows for training, validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from okml.data import fetched_from, logs
from okml.ledger import DataUsed
from okml.seqrec.interactions import Interactions
from okml.seqrec.rows import Rows, full_only, most_recent
from okml.seqrec.splits import Split, last_events, leave_one_out, per_user_ratio
from okml.strec.settings import DataSettings

SEARCHED = 2000  # number of test rows in the search for a varied history
VALIDATION_SEED = 0  # seed of the sample of validation rows for early stopping


@dataclass(frozen=True, eq=False)
class SplitLog:
    """One data set under its protocol.

    Attributes:
        settings: The settings of the protocol.
        log: The log before the filter.
        interactions: The events after the filter.
        split: The split into training, validation and test, short histories included.
        train: The training rows with a full history, as in the paper.
        valid: The validation rows with a full history, or a sample of them.
        test: The test rows with a full history.
        all_test: The number of test rows, short histories included; the authors' code counts
            those without a full history as misses.
    """

    settings: DataSettings
    log: logs.EventLog
    interactions: Interactions
    split: Split
    train: Rows
    valid: Rows
    test: Rows
    all_test: int

    @property
    def name(self) -> str:
        """The name of the log."""
        return self.settings.log

    @property
    def items(self) -> int:
        """The number of items."""
        return self.interactions.item_count

    def used(self) -> dict[str, DataUsed]:
        """Return the files of the log, with source and hash."""
        entry = logs.entry_of(self.log.name)
        return {
            f"{entry}/{file}": DataUsed(source=used.source, sha256=used.sha256)
            for file, used in fetched_from(entry).items()
        }

    def names(self, items: Sequence[int]) -> list[str]:
        """Return the titles of items by their numbers."""
        return self.log.item_names(self.interactions.item_ids[item - 1] for item in items)

    def varied_row(self) -> int:
        """Return the test row whose history has the largest number of distinct times."""
        length, times = self.settings.length, self.interactions.times
        ends = self.test.end[:SEARCHED].tolist()
        return int(np.argmax([len(np.unique(times[end - length : end])) for end in ends]))


def load(name: str, k_core: tuple[int, int] | None) -> tuple[logs.EventLog, pl.DataFrame]:
    """Read a log; return it and its events after the filter by events of a user and of an item."""
    log = logs.load(name)
    if k_core is None:
        return log, log.frame
    return log, logs.k_core(log.frame, users=k_core[0], items=k_core[1])


def prepare(
    settings: DataSettings, seed: int, log: logs.EventLog, events: pl.DataFrame
) -> SplitLog:
    """Order the events of a log and split them into rows.

    Args:
        settings: The protocol.
        seed: The seed of the order of events with equal times, where that is drawn. The numbers of
            rows do not depend on it.
        log: The log.
        events: Its events after the filter.
    """
    interactions = Interactions.from_frame(events, settings.tie_rule, seed)
    split = _split(interactions, settings)
    train, valid, test = (
        full_only(interactions, rows, settings.length)
        for rows in (split.train, split.valid, split.test)
    )
    if settings.rows_per_user is not None:
        train = most_recent(train, settings.rows_per_user)
    if settings.validation_rows is not None and settings.validation_rows < len(valid):
        drawn = np.random.default_rng(VALIDATION_SEED).choice(
            len(valid), settings.validation_rows, replace=False
        )
        valid = valid.take(np.sort(drawn))
    return SplitLog(settings, log, interactions, split, train, valid, test, len(split.test))


def _split(interactions: Interactions, settings: DataSettings) -> Split:
    match settings.split:
        case "per_user_ratio":
            return per_user_ratio(interactions)
        case "last_events":
            held_out = settings.held_out
            # Keep the users with a full history before the first validation row.
            least = settings.length + 2 * held_out + 1
            return last_events(interactions, held_out, held_out, least=least)
        case "leave_one_out":
            return leave_one_out(interactions)
