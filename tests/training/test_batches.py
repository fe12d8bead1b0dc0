"""The order of the data: complete, repeatable, and independent of who asks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okml.errors import TrainingError
from okml.training.batches import DataOrder, TensorBatches, micro_batches
from tests.training.tasks import Noisy

sizes = st.integers(1, 60)


@given(sizes, sizes, st.integers(0, 3), st.integers(0, 5), st.integers(0, 9))
def test_an_epoch_has_each_example_once_and_can_be_entered_anywhere(
    examples: int, batch: int, seed: int, epoch: int, first: int
) -> None:
    order = DataOrder(examples, batch, "epoch", seed)
    batches = list(order.epoch(epoch))
    assert len(batches) == order.steps_per_epoch == -(-examples // batch)
    assert sorted(np.concatenate(batches)) == list(range(examples))
    entered = list(order.epoch(epoch, first))
    assert len(entered) == len(batches[first:])
    assert all(np.array_equal(a, b) for a, b in zip(entered, batches[first:], strict=True))


@given(sizes, st.integers(4, 60), st.sampled_from([(1, 1), (1, 3), (2, 1), (2, 2), (4, 1)]))
def test_processes_and_micro_batches_share_the_same_global_batch(
    examples: int, batch: int, grid: tuple[int, int]
) -> None:
    processes, accumulation = grid
    alone = DataOrder(examples, batch, "epoch", 7)
    if examples < processes * accumulation:
        with pytest.raises(TrainingError, match="leave less than 1"):
            DataOrder(examples, batch, "epoch", 7, processes, accumulation)
        return
    order = DataOrder(examples, batch, "epoch", 7, processes, accumulation)
    source = TensorBatches(torch.arange(examples, dtype=torch.float64))
    steps = [list(micro_batches(source, order, 2, 0, rank, 0)) for rank in range(processes)]
    expected = list(alone.epoch(2))[: order.steps_per_epoch]
    assert len(alone.epoch(2).__next__()) == len(expected[0])
    for number, whole in enumerate(expected):
        parts = [part for rank in steps for part in rank[number]]
        assert np.array_equal(np.concatenate([rows.numpy() for (rows,), _ in parts]), whole)
        # Weighted micro-batch means, averaged over processes, are the mean of the batch.
        mean = sum(float(rows.mean()) * weight for (rows,), weight in parts) / processes
        assert mean == pytest.approx(whole.mean())


@pytest.mark.parametrize(
    ("batch", "processes", "accumulation", "steps"),
    [
        (16, 1, 1, 4),  # nothing is cut: the last 2 of 50 examples are a batch
        (16, 2, 2, 3),  # four micro-batches of four; of the last 2 examples none has four
        (16, 8, 1, None),  # two
        (128, 8, 16, None),  # one
    ],
)
def test_no_micro_batch_is_smaller_than_a_loss_needs(batch, processes, accumulation, steps):
    given = (50 if batch < 50 else 600, batch, "epoch", 0, processes, accumulation, 4)
    if steps is None:
        with pytest.raises(
            TrainingError, match=f"less than 4 to each of {processes * accumulation}"
        ) as caught:
            DataOrder(*given)
        assert "less gradient accumulation" in caught.value.hint
        return
    order = DataOrder(*given)
    assert order.steps_per_epoch == steps


def test_epochs_and_seeds_differ() -> None:
    orders = [
        np.concatenate(list(DataOrder(50, 8, "epoch", seed).epoch(epoch))).tolist()
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    assert len({tuple(order) for order in orders}) == 4


def test_draws_with_replacement_are_uniform_and_can_be_entered_anywhere() -> None:
    order = DataOrder(10, 1000, "replacement", 0)
    assert order.steps_per_epoch == 1
    order = DataOrder(10, 5, "replacement", 0)
    draws = [np.concatenate(list(order.epoch(epoch))) for epoch in range(2000)]
    counts = np.bincount(np.concatenate(draws), minlength=10)
    # 20,000 draws: 2,000 each, with a standard deviation of 42.
    assert np.all(np.abs(counts - 2000) < 5 * 42.4)
    assert any(len(set(draw)) < 10 for draw in draws)
    assert np.array_equal(next(iter(order.epoch(3, 1))), list(order.epoch(3))[1])


def test_the_order_of_the_source_can_be_kept() -> None:
    assert np.concatenate(list(DataOrder(7, 3, "none", 0).epoch(4))).tolist() == list(range(7))


@pytest.mark.slow
def test_worker_processes_change_nothing() -> None:
    order = DataOrder(42, 8, "epoch", 0, 1, 2)
    here, workers = (list(micro_batches(Noisy(), order, 1, 2, 0, count)) for count in (0, 2))
    assert len(here) == len(workers) == 4
    for a, b in zip(here, workers, strict=True):
        for (batch, weight), (other, other_weight) in zip(a, b, strict=True):
            assert weight == other_weight
            assert all(torch.equal(x, y) for x, y in zip(batch, other, strict=True))


def test_building_batches_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(micro_batches(Noisy(), DataOrder(42, 8, "epoch", 0), 0, 0, 0, 0))
    assert torch.equal(torch.get_rng_state(), before)


def test_tensors_must_match() -> None:
    with pytest.raises(TrainingError, match="Lengths differ"):
        TensorBatches(torch.zeros(3), torch.zeros(4))
