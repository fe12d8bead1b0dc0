"""Rows that come and go, and what they start from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from okml.errors import ParameterError
from okml.video_workshop.stream.new_rows import PADDING, SHARED, ExpiringTable, RowInitializer

ITEMS, CAPACITY, LEAST, TTL = 6, 3, 2, 4


class Dictionary:
    """The table as one would write it with dictionaries."""

    def __init__(self) -> None:
        self.row: dict[int, int] = {}
        self.free = list(range(SHARED + 1, SHARED + 1 + CAPACITY))
        self.count: dict[int, int] = {}
        self.seen: dict[int, int] = {}

    def observe(self, events: list[tuple[int, int]]) -> None:
        for item, time in events:
            self.count[item] = self.count.get(item, 0) + 1
            self.seen[item] = max(self.seen.get(item, 0), time)
        for item in sorted(self.count):
            if item not in self.row and self.count[item] >= LEAST and self.free:
                self.row[item] = self.free.pop(0)

    def evict(self, now: int) -> None:
        for item in sorted(self.row):
            if now - self.seen[item] > TTL:
                self.free.append(self.row.pop(item))
                self.count[item] = 0
        self.free.sort()


steps = st.lists(
    st.lists(st.tuples(st.integers(1, ITEMS), st.integers(0, 3)), max_size=6), max_size=8
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_the_table_does_what_a_dictionary_does(periods: list[list[tuple[int, int]]]) -> None:
    table = ExpiringTable(ITEMS, 2, capacity=CAPACITY, min_count=LEAST, ttl=TTL)
    reference = Dictionary()
    for number, period in enumerate(periods):
        events = [(item, 3 * number + late) for item, late in period]
        items, times = (np.array(column, np.int64).reshape(-1) for column in
                        (zip(*events, strict=True) if events else ([], [])))  # fmt: skip
        table.observe(items, times)
        reference.observe(events)
        assert {int(i): int(table.row_of[i]) for i in table.alive} == reference.row
        table.evict(3 * number + 3)
        reference.evict(3 * number + 3)
        assert {int(i): int(table.row_of[i]) for i in table.alive} == reference.row
        assert table.free_rows().tolist() == reference.free
        # No two items share a row unless it is the shared one.
        own = table.row_of[table.alive]
        assert len(own.unique()) == len(own)


def admitted(items: list[int], **arguments: object) -> ExpiringTable:
    table = ExpiringTable(ITEMS, 2, capacity=CAPACITY, min_count=1, ttl=TTL, **arguments)  # type: ignore[arg-type]
    table.observe(np.array(items), np.zeros(len(items), np.int64))
    return table


def test_items_without_a_row_share_one() -> None:
    table = admitted([2])
    matrix = table()
    assert matrix.shape == (ITEMS + 1, 2)
    assert (matrix[0] == 0).all()
    assert torch.equal(matrix[1], matrix[3])
    assert not torch.equal(matrix[1], matrix[2])
    assert torch.equal(table.lookup(torch.tensor([[2, 0]])), matrix[torch.tensor([[2, 0]])])


def test_the_padding_row_never_moves() -> None:
    table = admitted([1, 2])
    optimizer = torch.optim.Adam(table.parameters(), 0.1)
    table.lookup(torch.tensor([0, 1, 5])).sum().backward()
    optimizer.step()
    assert (table.rows.weight[PADDING] == 0).all()


def test_an_evicted_row_is_zeroed_for_its_next_owner() -> None:
    table = admitted([1, 2])
    gone, kept = int(table.row_of[1]), int(table.row_of[2])
    table.observe(np.array([2]), np.array([10]))
    assert table.evict(10).tolist() == [1]
    assert (table.rows.weight[gone] == 0).all()
    assert (table.rows.weight[kept] != 0).all()


def test_the_map_of_rows_travels_with_the_weights() -> None:
    table = admitted([4, 5])
    other = ExpiringTable(ITEMS, 2, capacity=CAPACITY, min_count=1, ttl=TTL)
    other.load_state_dict(table.state_dict())
    assert torch.equal(other(), table())
    assert other.free_rows().tolist() == table.free_rows().tolist()


def test_a_table_needs_room() -> None:
    with pytest.raises(ParameterError, match="at least 1"):
        ExpiringTable(ITEMS, 2, capacity=0, ttl=1)


def test_neighbors_by_content_by_hand() -> None:
    """Two known items, one with the new one's content: weights softmax((1, 0) / 0.1)."""
    content = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    known = torch.tensor([[1.0, -1.0], [5.0, 7.0]])
    make = RowInitializer("content_knn", content)
    rows = torch.stack(
        [make(known, torch.tensor([1, 2]), torch.tensor([3]))[0] for _ in range(2_000)]
    )
    weight = torch.tensor([10.0, 0.0]).softmax(0)
    expected = weight @ known
    noise = 0.1 * known.std(0)
    torch.testing.assert_close(rows.mean(0), expected, atol=0.05, rtol=0)
    torch.testing.assert_close(rows.std(0), noise, atol=0.03, rtol=0)


def test_mean_rows_and_random_rows() -> None:
    known = torch.tensor([[1.0, 3.0], [3.0, 5.0]])
    items, new = torch.tensor([1, 2]), torch.arange(3, 4_003)
    mean = RowInitializer("mean_noise")(known, items, new)
    torch.testing.assert_close(mean.mean(0), torch.tensor([2.0, 4.0]), atol=0.02, rtol=0)
    random = RowInitializer("random")(known, items, new)
    torch.testing.assert_close(random.std(0), torch.full((2,), 0.02), atol=1e-3, rtol=0)
    with pytest.raises(ParameterError, match="content"):
        RowInitializer("content_knn")
