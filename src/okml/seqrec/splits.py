"""Splits of targets into training, validation and test.

Every rule uses the order of ``Interactions``, so its tie rule decides which of two events with
equal times is the later one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.rows import Mask, Rows, Windows, all_rows, cut_windows


@dataclass(frozen=True, eq=False)
class Split:
    """The rows for training, validation and test, and the events visible in training.

    Attributes:
        train: The rows of training targets.
        valid: The rows of validation targets, for model selection.
        test: The rows of test targets.
        train_end: One past the newest training event of each user, ``[u]``, never after the
            user's first validation or test target; the first event of users without training
            events.
    """

    train: Rows
    valid: Rows
    test: Rows
    train_end: Ints

    def training_windows(
        self, interactions: Interactions, length: int, per_user: int | None = None
    ) -> Windows:
        """Cut the training events into windows; see :func:`okml.seqrec.rows.cut_windows`.

        They also cover users without rows in ``train``, whose histories are too short.
        """
        return cut_windows(interactions, self.train_end, length, per_user)


def leave_one_out(interactions: Interactions) -> Split:
    """Use each user's last event as the test and the one before as validation.

    Users with fewer than three events are only in training.
    """
    return _by_counts(interactions, *_last(interactions, 1, 1, least=3))


def last_events(
    interactions: Interactions, valid: int = 5, test: int = 5, least: int | None = None
) -> Split:
    """Use each user's last ``test`` events as the test and the ``valid`` before as validation.

    Users with fewer than ``least`` events (by default two more than are held out) have no rows
    at all; training windows still cover them. Spec 17.2 of STRec, 5 and 5 of users with
    ``length + 11`` events, is ``full_only`` of this with that ``least``.

    Raises:
        ParameterError: If fewer than one event a user would be held out, or all of them.
    """
    least = valid + test + 2 if least is None else least
    if min(valid, test) < 1 or least <= valid + test:
        raise ParameterError(
            f"{valid} and {test} held-out events of users with {least} or more do not fit.",
            "Hold out at least 1 each, of users with more events than that.",
        )
    split = _by_counts(interactions, *_last(interactions, valid, test, least))
    eligible = interactions.lengths >= least
    return replace(split, train=split.train.take(eligible[split.train.user]))


def _last(interactions: Interactions, valid: int, test: int, least: int) -> tuple[Ints, Ints]:
    eligible = (interactions.lengths >= least).astype(np.int64)
    return eligible * valid, eligible * test


def per_user_ratio(interactions: Interactions, ratios: Sequence[float] = (0.8, 0.2, 0.1)) -> Split:
    """Cut the rows of each user, in order, in the ratios train : valid : test.

    This is RecBole's ratio split of a sequential model, whose ratios are divided by their sum
    first: STRec's 0.8, 0.2, 0.1 are 8/11, 2/11, 1/11. Shares are rounded down and the remainder
    goes to training. A share of less than one row is raised to one, for test before valid, while
    training keeps more than one row.

    Raises:
        ParameterError: If there are not three positive ratios.
    """
    if len(ratios) != 3 or min(ratios) <= 0:
        raise ParameterError(f"Ratios must be three positive numbers, not {list(ratios)}.")
    _, valid_share, test_share = (ratio / sum(ratios) for ratio in ratios)
    rows = np.maximum(interactions.lengths - 1, 0)  # [u]
    valid, test = (np.floor(share * rows).astype(np.int64) for share in (valid_share, test_share))
    train = rows - valid - test
    for count, share in ((test, test_share), (valid, valid_share)):
        raised = (count == 0) & (share * rows > 0) & (train > 1)
        count += raised
        train -= raised
    return _by_counts(interactions, valid, test)


def _by_counts(interactions: Interactions, valid: Ints, test: Ints) -> Split:
    """Hold out the last ``valid + test`` events of each user; both counts are ``[u]``."""
    ends = interactions.offsets[1:]
    train_end, valid_end = ends - valid - test, ends - test
    rows = all_rows(interactions)
    trained = rows.end < train_end[rows.user]
    tested = rows.end >= valid_end[rows.user]
    return _of_masks(rows, (trained, ~trained & ~tested, tested), train_end)


class CutTimes(NamedTuple):
    """The times that separate training, validation and test, in seconds."""

    valid: int  # the first time of validation
    test: int  # the first time of the test


def time_quantiles(interactions: Interactions, valid: float, test: float) -> CutTimes:
    """Return the times of the quantiles ``valid`` and ``test`` of all events."""
    cuts = np.quantile(interactions.times, [valid, test], method="higher")
    return CutTimes(int(cuts[0]), int(cuts[1]))


def user_holdout(
    interactions: Interactions, valid: float = 0.1, test: float = 0.1, seed: int = 0
) -> Split:
    """Hold out all events but the first of users (or sessions) drawn at random.

    Raises:
        ParameterError: If the shares are not positive or leave a part empty.
    """
    users = interactions.user_count
    counts = round(valid * users), round(test * users)
    if min(counts) < 1 or sum(counts) >= users:
        raise ParameterError(f"Shares {valid} and {test} of {users:,} users leave a part empty.")
    part = np.zeros(users, dtype=np.int8)
    drawn = np.random.default_rng(seed).permutation(users)
    part[drawn[: counts[0]]] = 1
    part[drawn[counts[0] : sum(counts)]] = 2
    rows = all_rows(interactions)
    masks = tuple(part[rows.user] == number for number in range(3))
    train_end = np.where(part == 0, interactions.offsets[1:], interactions.offsets[:-1])
    return _of_masks(rows, masks, train_end)


def _of_masks(rows: Rows, masks: Sequence[Mask], train_end: Ints) -> Split:
    train, valid, test = (rows.take(mask) for mask in masks)
    for part, there in (("validation", valid), ("test", test)):
        if not len(there):
            raise ParameterError(
                f"The split leaves no rows for {part}.",
                "Use users with longer histories.",
            )
    return Split(train, valid, test, train_end)
