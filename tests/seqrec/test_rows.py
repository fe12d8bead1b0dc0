"""Rows and windows: which events are predicted from which."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.errors import ParameterError
from okml.seqrec.rows import Windows, all_rows, cut_windows, full_only, most_recent
from tests.seqrec.logs import lengths, of_lengths


class Always:
    """Draws one number, or the largest that is allowed."""

    def __init__(self, number: int) -> None:
        self.number = number

    def integers(self, low: int, high: Any, endpoint: bool) -> Any:
        assert endpoint
        return np.minimum(self.number, high)


def covered(windows: Windows, interactions: Any, rng: Any = None) -> Counter[int]:
    """Count how often each event is a target."""
    start, stop = windows.bounds(interactions, np.arange(len(windows)), rng)
    assert (stop - start >= 2).all()  # none without a target
    assert (stop - start <= windows.length + 1).all()
    assert (start >= interactions.offsets[windows.user]).all()
    return Counter(t for a, b in zip(start, stop, strict=True) for t in range(a + 1, b))


@given(lengths, st.integers(1, 8), st.integers(1, 4))
def test_rows_and_their_filters(sizes: list[int], length: int, cap: int) -> None:
    found = of_lengths(sizes)
    pairs = [
        (user, end)
        for user in range(found.user_count)
        for end in range(int(found.offsets[user]) + 1, int(found.offsets[user + 1]))
    ]
    rows = all_rows(found)
    assert list(zip(rows.user, rows.end, strict=True)) == pairs
    full = full_only(found, rows, length)
    assert full.end.tolist() == [e for u, e in pairs if e - found.offsets[u] >= length]
    newest = {u: [e for v, e in pairs if v == u][-cap:] for u, _ in pairs}
    assert most_recent(rows, cap).end.tolist() == [e for ends in newest.values() for e in ends]


@given(lengths, st.integers(1, 8), st.data())
def test_windows_cover_each_target_that_may_be_seen_once(
    sizes: list[int], length: int, data: st.DataObject
) -> None:
    found = of_lengths(sizes)
    limit = found.offsets[:-1] + [data.draw(st.integers(0, int(n))) for n in found.lengths]
    seen = [t for u, end in enumerate(limit) for t in range(int(found.offsets[u]) + 1, int(end))]
    if not seen:
        with pytest.raises(ParameterError, match="No user has two events"):
            cut_windows(found, limit, length)
        return
    windows = cut_windows(found, limit, length)
    assert covered(windows, found) == Counter(seen)
    # Whatever one draw moves all windows by, they still share no target and have all of them;
    # so with draws of their own, each target is expected once.
    for shift in range(length):
        assert covered(windows, found, Always(shift)) == Counter(seen)
    assert windows.slack.max() < length


def test_windows_are_counted_from_the_newest_event() -> None:
    found = of_lengths([8])
    windows = cut_windows(found, found.offsets[1:], length=3)
    start, stop = windows.bounds(found, np.arange(3))
    # 7 targets: three, three and one; a window has one event more than targets.
    assert list(zip(start, stop, strict=True)) == [(4, 8), (1, 5), (0, 2)]
    assert windows.slack[:3].tolist() == [2, 2, 2]
    newest = cut_windows(found, found.offsets[1:], length=3, per_user=1)
    assert newest.stop.tolist() == found.offsets[1:].tolist()
    assert newest.slack[0] == 2


def test_windows_move_by_each_number_of_places_up_to_the_slack() -> None:
    found = of_lengths([8])
    windows = cut_windows(found, found.offsets[1:], length=3)
    # Targets 2 to 4 of 7, which two others precede or not: from 5 the end moves by 0, 1 or 2.
    _, stop = windows.bounds(found, np.ones(3_000, np.int64), np.random.default_rng(0))
    counts = np.bincount(stop).tolist()
    assert counts == pytest.approx([0] * 5 + [1_000] * 3, abs=130)  # five standard deviations


def test_bad_numbers_are_refused() -> None:
    found = of_lengths([3])
    with pytest.raises(ParameterError, match="at least 1"):
        cut_windows(found, found.offsets[1:], 0)
    with pytest.raises(ParameterError, match="at least 1"):
        most_recent(all_rows(found), 0)
