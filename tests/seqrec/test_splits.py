"""Splits: against the rules written out user by user, and what training may never see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions
from okml.seqrec.rows import Rows
from okml.seqrec.splits import (
    Split,
    last_events,
    leave_one_out,
    per_user_ratio,
    time_quantiles,
    user_holdout,
)
from tests.seqrec.logs import lengths, of_lengths, of_rows


def by_user(found: Interactions, rows: Rows) -> list[list[int]]:
    """Return, user by user, the places of the targets in the history."""
    places = rows.end - found.offsets[rows.user]
    return [places[rows.user == user].tolist() for user in range(found.user_count)]


def check_no_leak(found: Interactions, split: Split, *, whole_users: bool = False) -> None:
    """Training sees no event at or after a user's first held-out target, by rows or windows."""
    held_out = np.concatenate([split.valid.end, split.test.end])
    owner = np.concatenate([split.valid.user, split.test.user])
    first = found.offsets[1:].copy()
    np.minimum.at(first, owner, held_out)
    assert (split.train_end <= first).all()
    assert (split.train.end < split.train_end[split.train.user]).all()
    ends = np.concatenate([split.train.end, held_out])
    assert len(np.unique(ends)) == len(ends)
    windows = split.training_windows(found, 4)
    _, stop = windows.bounds(found, np.arange(len(windows)), np.random.default_rng(0))
    assert (stop <= first[windows.user]).all()
    if whole_users:
        assert not set(windows.user) & set(owner)


def ratio_counts(rows: int, ratios: list[float]) -> list[int]:
    """Count the rows of one user in each part, as RecBole 1.2 does."""
    shares = [ratio / sum(ratios) for ratio in ratios]
    counts = [int(share * rows) for share in shares]
    counts[0] = rows - sum(counts[1:])
    for part in (2, 1):
        if counts[0] <= 1:
            break
        if 0 < shares[part] * rows < 1:
            counts[part] += 1
            counts[0] -= 1
    return counts


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=8),
    st.sampled_from([(0.8, 0.2, 0.1), (0.8, 0.1, 0.1), (1.0, 1.0, 1.0), (0.98, 0.01, 0.01)]),
)
def test_ratios_are_rounded_as_in_recbole(sizes: list[int], ratios: tuple[float, ...]) -> None:
    found = of_lengths(sizes)
    split = per_user_ratio(found, ratios)
    parts = [by_user(found, rows) for rows in (split.train, split.valid, split.test)]
    for user, length in enumerate(found.lengths):
        counts = ratio_counts(int(length) - 1, list(ratios))
        assert [len(part[user]) for part in parts] == counts
        assert [place for part in parts for place in part[user]] == list(range(1, length))
    check_no_leak(found, split)


def test_ratios_of_strec_are_eight_two_and_one_elevenths() -> None:
    found = of_lengths([34])
    split = per_user_ratio(found)
    places = [by_user(found, rows)[0] for rows in (split.train, split.valid, split.test)]
    assert places == [list(range(1, 25)), list(range(25, 31)), list(range(31, 34))]


@given(lengths)
def test_leave_one_out(sizes: list[int]) -> None:
    found = of_lengths(sizes)
    split = leave_one_out(found)
    for user, length in enumerate(found.lengths):
        held = length >= 3
        assert by_user(found, split.test)[user] == ([length - 1] if held else [])
        assert by_user(found, split.valid)[user] == ([length - 2] if held else [])
        assert by_user(found, split.train)[user] == list(range(1, length - 2 * held))
    check_no_leak(found, split)


@given(lengths, st.integers(1, 3), st.integers(1, 3))
def test_last_events(sizes: list[int], valid: int, test: int) -> None:
    found = of_lengths(sizes)
    least = valid + test + 2
    split = last_events(found, valid, test)
    for user, length in enumerate(int(n) for n in found.lengths):
        places = [by_user(found, part)[user] for part in (split.train, split.valid, split.test)]
        cut = length - valid - test
        expected = [list(range(1, cut)), list(range(cut, length - test))]
        expected.append(list(range(length - test, length)))
        assert places == (expected if length >= least else [[], [], []])
        # The others are for windows alone.
        assert split.train_end[user] == found.offsets[user] + (cut if length >= least else length)
    check_no_leak(found, split)


def test_cuts_by_quantiles() -> None:
    found = of_rows([(0, 1, hour * 3_600) for hour in range(24 * 10)])
    assert time_quantiles(found, 0.9, 0.95) == (216 * 3_600, 228 * 3_600)


def test_whole_users_are_held_out() -> None:
    found = of_lengths(list(range(2, 41)))
    split = user_holdout(found, 0.1, 0.2, seed=3)
    users = [set(rows.user.tolist()) for rows in (split.train, split.valid, split.test)]
    assert [len(part) for part in users] == [28, 4, 8]
    assert sorted(set().union(*users)) == list(range(40))
    for user in users[2]:
        assert by_user(found, split.test)[user] == list(range(1, found.lengths[user]))
    check_no_leak(found, split, whole_users=True)
    other = user_holdout(found, 0.1, 0.2, seed=4)
    assert set(other.test.user.tolist()) != users[2]


def test_splits_that_cannot_be_are_refused() -> None:
    found = of_lengths([9])
    with pytest.raises(ParameterError, match="do not fit"):
        last_events(found, 5, 5, least=10)
    with pytest.raises(ParameterError, match="three positive"):
        per_user_ratio(found, (0.8, 0.2))
    with pytest.raises(ParameterError, match="leave a part empty"):
        user_holdout(found, 0.1, 0.1)
    with pytest.raises(ParameterError, match="leaves no rows for validation"):
        leave_one_out(of_rows([(0, 1, 1), (0, 2, 2)]))
