"""A log as an MDP: filtered, with rewards, and split into training, validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from okml.data import logs
from okml.errors import DataError
from okml.offline_rl.episodes import Episodes
from okml.offline_rl.rewards import least_wanted, with_rewards
from okml.offline_rl.settings import LogSettings
from okml.offline_rl.simulator import logging_policy, simulate
from okml.seqrec.batches import LastTargetBatches
from okml.seqrec.interactions import Interactions
from okml.seqrec.mixers.base import PaddingSide
from okml.seqrec.rows import Rows, Windows, most_recent
from okml.seqrec.splits import Split, leave_one_out, user_holdout

SEED = 0  # seed of split, ties and samples of a log, the same for all seeds of a run
WORLD_SEED = 3  # seed of simulated logs; roll-outs and other logs have others


@dataclass(frozen=True, eq=False)
class MDPDataset:
    """One data set under its protocol.

    Attributes:
        log: The log before the filters, read or simulated.
        valid: The validation rows, a subset of the split's.
        test: The test rows, a subset of the split's.
        gamma: The discount factor of the episodes' returns.
    """

    settings: LogSettings
    log: logs.EventLog
    episodes: Episodes
    split: Split
    valid: Rows
    test: Rows
    gamma: float

    @property
    def interactions(self) -> Interactions:
        """The events, ordered by user and time."""
        return self.episodes.interactions

    @property
    def items(self) -> int:
        """The number of items."""
        return self.interactions.item_count

    @property
    def reward_range(self) -> tuple[float, float]:
        """The smallest and the largest reward."""
        rewards = self.episodes.rewards
        return float(rewards.min()), float(rewards.max())

    @property
    def wanted(self) -> float:
        """The least reward of a wanted event."""
        return least_wanted(self.settings.reward)

    def windows(self) -> Windows:
        """Return the windows of training events."""
        settings = self.settings
        return self.split.training_windows(
            self.interactions, settings.length, settings.windows_per_user
        )

    def histories(
        self, rows: Rows, device: torch.device, padding_side: PaddingSide = "right"
    ) -> LastTargetBatches:
        """Return batches of rows with the histories before them, as long as a state."""
        return LastTargetBatches(
            self.interactions, rows, self.settings.length, padding_side=padding_side, device=device
        )

    def training_returns(self) -> NDArray[np.float32]:
        """Return the discounted return from each training action on, ``[r]``."""
        return self.episodes.returns[self.split.train.end]

    def names(self, items: Sequence[int]) -> list[str]:
        """Return the titles of items that are given by number."""
        return self.log.item_names(self.interactions.item_ids[item - 1] for item in items)


def prepare(settings: LogSettings, gamma: float, seed: int = SEED) -> MDPDataset:
    """Read or simulate a log, filter it, add rewards and split it.

    The seed is that of the visitors of a simulated log.
    """
    log = logs.load(settings.log) if settings.is_real else _simulated(settings, seed)
    frame = with_rewards(filtered(log.frame, settings), settings.reward)
    interactions = Interactions.from_frame(frame, settings.tie_rule, SEED)
    episodes = Episodes.of(interactions, gamma)
    leave_out = settings.split == "leave_one_out"
    split = leave_one_out(interactions) if leave_out else user_holdout(interactions, seed=SEED)
    test, valid = split.test, split.valid
    if settings.test_rows_per_user is not None:
        test = most_recent(test, settings.test_rows_per_user)
    if settings.validation_rows is not None:
        valid = valid.take(sample(len(valid), settings.validation_rows))
    return MDPDataset(settings, log, episodes, split, valid, test, gamma)


def _simulated(settings: LogSettings, seed: int) -> logs.EventLog:
    """Return a log of the simulator under its logging policy."""
    assert settings.users is not None
    rng = np.random.default_rng((WORLD_SEED, seed))
    events = simulate(logging_policy, settings.users, rng).frame()
    notice = "Simulated sessions, no real visitors."
    return logs.EventLog("funnel", events, 1, "simulated", "none", notice)


def filtered(frame: pl.DataFrame, settings: LogSettings) -> pl.DataFrame:
    """Drop rare items and short histories, in this order, and sample users.

    Purchases do not count and stay in the remaining sessions, as in the SQN papers for Yoochoose.
    Items have the same ids in both kinds of event.

    Raises:
        DataError: If no event is left.
    """
    counted = frame.filter(pl.col("kind") != "purchase")
    if settings.least_item_events is not None:
        counted = counted.filter(pl.len().over("item") >= settings.least_item_events)
    if settings.least_user_events is not None:
        counted = counted.filter(pl.len().over("user") >= settings.least_user_events)
    users = counted["user"].unique().sort()
    if settings.users is not None:
        users = users[sample(len(users), settings.users)]
    items = counted["item"].unique()
    kept = (pl.col("kind") == "purchase") | pl.col("item").is_in(items.implode())
    frame = frame.filter(kept & pl.col("user").is_in(users.implode()))
    if frame.is_empty():
        raise DataError(f"No event of {settings.log} is left after the filters.", "Loosen them.")
    return frame


def sample(count: int, size: int, rng: np.random.Generator | None = None) -> NDArray[np.int64]:
    """Return ``size`` of the numbers below ``count`` in their order, or all if there are fewer.

    Without a generator the draw is the same each time.
    """
    rng = np.random.default_rng(SEED) if rng is None else rng
    return np.sort(rng.choice(count, min(size, count), replace=False))
