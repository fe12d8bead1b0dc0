"""Splits of targets into training, validation and test.

Every rule uses the order of ``Interactions``, so its tie rule decides which of two events with
equal times is the later one; only ``global_time`` never separates events with equal times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions, Ints, TieRule
from okml.seqrec.rows import Mask, Rows, Windows, all_rows, cut_windows

DAY = 86_400  # seconds


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
        name: The name of the rule.
        tie_rule: The order of one user's events with equal times.
    """

    train: Rows
    valid: Rows
    test: Rows
    train_end: Ints
    name: str
    tie_rule: TieRule

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
    return _by_counts(interactions, *_last(interactions, 1, 1, least=3), "leave_one_out")


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
    counts = _last(interactions, valid, test, least)
    split = _by_counts(interactions, *counts, f"last_events_{valid}_{test}")
    eligible = interactions.lengths >= least
    train = split.train.take(eligible[split.train.user])
    return Split(train, split.valid, split.test, split.train_end, split.name, split.tie_rule)


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
    return _by_counts(interactions, valid, test, "per_user_ratio")


def _by_counts(interactions: Interactions, valid: Ints, test: Ints, name: str) -> Split:
    """Hold out the last ``valid + test`` events of each user; both counts are ``[u]``."""
    ends = interactions.offsets[1:]
    train_end, valid_end = ends - valid - test, ends - test
    rows = all_rows(interactions)
    trained = rows.end < train_end[rows.user]
    tested = rows.end >= valid_end[rows.user]
    return _of_masks(interactions, rows, (trained, ~trained & ~tested, tested), train_end, name)


class CutTimes(NamedTuple):
    """The times that separate training, validation and test, in seconds."""

    valid: int  # the first time of validation
    test: int  # the first time of the test


def last_days(interactions: Interactions, valid: float, test: float) -> CutTimes:
    """Return cuts for a test of the last ``test`` days, and ``valid`` days of validation before."""
    after = int(interactions.times.max()) + 1
    return CutTimes(after - round((valid + test) * DAY), after - round(test * DAY))


def time_quantiles(interactions: Interactions, valid: float, test: float) -> CutTimes:
    """Return the times of the quantiles ``valid`` and ``test`` of all events."""
    cuts = np.quantile(interactions.times, [valid, test], method="higher")
    return CutTimes(int(cuts[0]), int(cuts[1]))


def global_time(
    interactions: Interactions, cuts: CutTimes, targets: Literal["all", "first"] = "all"
) -> Split:
    """Separate training, validation and test by time, with the same cuts for all users.

    An event at the time of a cut belongs to the later part. Targets without any earlier event of
    their user are in no part; training never sees those of later parts.

    Args:
        interactions: The events of all users.
        cuts: The cut times, by :func:`last_days` or :func:`time_quantiles`.
        targets: ``all``: each event of a part is a target, with the events before it as history;
            ``first``: only each user's first target in validation and in test. With all later
            items as relevant ones, that is the protocol of one recommendation for the whole
            period.

    Raises:
        ParameterError: If the cuts are not in order, or a part is empty.
    """
    if cuts.valid >= cuts.test:
        raise ParameterError(f"Validation at {cuts.valid} must begin before test at {cuts.test}.")
    rows = all_rows(interactions)
    times = interactions.times[rows.end]
    trained, tested = times < cuts.valid, times >= cuts.test
    chosen = ~trained & ~tested
    if targets == "first":
        tested, chosen = (mask & _first_of_user(rows, mask) for mask in (tested, chosen))
    before = np.concatenate([[0], np.cumsum(interactions.times < cuts.valid)])
    train_end = interactions.offsets[:-1] + np.diff(before[interactions.offsets])
    masks = (trained, chosen, tested)
    return _of_masks(interactions, rows, masks, train_end, f"global_time_{targets}")


def _first_of_user(rows: Rows, mask: Mask) -> Mask:
    """Mark each user's first row among those in ``mask``."""
    kept = np.flatnonzero(mask)
    _, first = np.unique(rows.user[kept], return_index=True)
    marked = np.zeros(len(rows), dtype=bool)
    marked[kept[first]] = True
    return marked


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
    return _of_masks(interactions, rows, masks, train_end, "user_holdout")


def _of_masks(
    interactions: Interactions, rows: Rows, masks: Sequence[Mask], train_end: Ints, name: str
) -> Split:
    train, valid, test = (rows.take(mask) for mask in masks)
    for part, there in (("validation", valid), ("test", test)):
        if not len(there):
            raise ParameterError(
                f"The split {name} leaves no rows for {part}.",
                "Move its cuts, or use users with longer histories.",
            )
    return Split(train, valid, test, train_end, name, interactions.tie_rule)
