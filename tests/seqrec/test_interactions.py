"""Flat histories: what is in them, in which order, under which numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.errors import DataError
from okml.seqrec.interactions import Interactions
from tests.seqrec.logs import events, frame_of, of_rows


def test_a_log_worked_by_hand() -> None:
    frame = pl.DataFrame(
        {
            "user": ["b", "aa", "b", "b", "aa"],
            "item": ["10", "9", "9", "100", "10"],
            "time": [5, 7, 5, 1, 7],
            "value": [1.0, None, 3.0, 4.0, 5.0],
        }
    )
    found = Interactions.from_frame(frame)
    assert found.user_ids.to_list() == ["b", "aa"]  # shorter ids first
    assert found.item_ids.to_list() == ["9", "10", "100"]
    # b: 100 at 1, then 10 and 9, both at 5, as the file has them.
    assert found.items.tolist() == [3, 2, 1, 1, 2]
    assert found.times.tolist() == [1, 5, 5, 7, 7]
    assert found.offsets.tolist() == [0, 3, 5]
    assert found.users().tolist() == [0, 0, 0, 1, 1]
    assert found.values is not None
    np.testing.assert_array_equal(found.values, np.float32([4, 1, 3, np.nan, 5]))
    assert (found.user_count, found.item_count, len(found)) == (2, 3, 5)
    assert [a.dtype.name for a in (found.items, found.times, found.offsets, found.values)] == [
        "int32", "int64", "int64", "float32",
    ]  # fmt: skip


@given(events)
def test_histories_are_a_stable_sort(rows: list[tuple[int, int, int]]) -> None:
    found = of_rows(rows)
    users = sorted({user for user, _, _ in rows})
    assert found.user_ids.to_list() == [f"u{user}" for user in users]
    for number, user in enumerate(users):
        mine = sorted((row for row in rows if row[0] == user), key=lambda row: row[2])
        history = slice(found.offsets[number], found.offsets[number + 1])
        ids = [found.item_ids[int(item) - 1] for item in found.items[history]]
        assert ids == [str(item) for _, item, _ in mine]
        assert found.times[history].tolist() == [time for _, _, time in mine]
    assert found.values is None


@given(events, st.randoms())
def test_numbers_do_not_depend_on_the_order_of_the_file(
    rows: list[tuple[int, int, int]], random: Any
) -> None:
    shuffled = rows.copy()
    random.shuffle(shuffled)
    a, b = of_rows(rows), of_rows(shuffled)
    assert a.item_ids.equals(b.item_ids)
    assert a.user_ids.equals(b.user_ids)


def test_tie_rules_move_only_what_shares_a_time() -> None:
    frame = frame_of([(0, item, time) for time in (2, 1) for item in (7, 3, 9, 5, 1, 8, 2, 6)])
    by_file, by_item, *drawn = (
        Interactions.from_frame(frame, rule, seed)
        for rule, seed in (("file", 0), ("item", 0), ("random", 0), ("random", 0), ("random", 1))
    )
    ids = [[int(found.item_ids[int(i) - 1]) for i in found.items] for found in (by_file, by_item)]
    assert ids == [[7, 3, 9, 5, 1, 8, 2, 6] * 2, [1, 2, 3, 5, 6, 7, 8, 9] * 2]
    assert drawn[0].items.tolist() == drawn[1].items.tolist() != drawn[2].items.tolist()
    assert drawn[0].items.tolist() not in (by_file.items.tolist(), by_item.items.tolist())
    for found in (by_item, *drawn):
        assert found.times.tolist() == [1] * 8 + [2] * 8
        assert sorted(found.items[:8]) == sorted(by_file.items[:8])


def test_what_is_no_log_is_refused() -> None:
    frame = frame_of([(0, 1, 1)])
    with pytest.raises(DataError, match="no column 'time'"):
        Interactions.from_frame(frame.drop("time"))
    with pytest.raises(DataError, match="'item' of the log has 1 empty"):
        Interactions.from_frame(frame.with_columns(item=pl.lit(None, pl.String)))
    with pytest.raises(DataError, match="no events"):
        Interactions.from_frame(frame.clear())
