"""Batches: against windows cut and padded one by one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okml.errors import ParameterError
from okml.seqrec.batches import CausalBatches, LastTargetBatches
from okml.seqrec.interactions import Interactions
from okml.seqrec.mixers.base import PaddingSide
from okml.seqrec.negatives import NegativeSampler
from okml.seqrec.popularity import item_counts
from okml.seqrec.rows import all_rows, cut_windows, full_only
from okml.training.batches import BatchSource, DataOrder, micro_batches
from tests.device import GPU
from tests.seqrec.logs import lengths, of_lengths

RNG = np.random.default_rng(0)
sides = st.sampled_from(["left", "right"])


def pad(values: np.ndarray, length: int, side: PaddingSide) -> list[int]:
    zeros = [0] * (length - len(values))
    return zeros + values.tolist() if side == "left" else values.tolist() + zeros


@given(lengths, st.integers(1, 8), sides)
def test_rows_are_padded_histories(sizes: list[int], length: int, side: PaddingSide) -> None:
    found = of_lengths(sizes)
    rows = all_rows(found)
    source = LastTargetBatches(found, rows, length, padding_side=side)
    indices = np.random.default_rng(1).permutation(len(source))
    batch = source.batch(indices, RNG)
    for place, number in enumerate(indices):
        user, end = rows.user[number], rows.end[number]
        history = slice(max(end - length, found.offsets[user]), end)
        assert batch.items[place].tolist() == pad(found.items[history], length, side)
        assert batch.times[place].tolist() == pad(found.times[history], length, side)
        assert (batch.target[place], batch.user[place]) == (found.items[end], user)
    assert batch.padded == bool((batch.items == 0).any())
    tensors = (batch.items, batch.times, batch.target, batch.user)
    assert {tensor.dtype for tensor in tensors} == {torch.int64}


@given(lengths, st.integers(1, 8), sides, st.booleans())
def test_windows_have_the_next_item_at_each_position(
    sizes: list[int], length: int, side: PaddingSide, jitter: bool
) -> None:
    found = of_lengths(sizes)
    windows = cut_windows(found, found.offsets[1:], length)
    source = CausalBatches(found, windows, padding_side=side, jitter=jitter)
    indices = np.random.default_rng(1).permutation(len(source))
    batch = source.batch(indices, np.random.default_rng(2))
    rng = np.random.default_rng(2) if jitter else None
    bounds = windows.bounds(found, indices, rng)
    for place, (start, stop) in enumerate(zip(*bounds, strict=True)):
        assert batch.items[place].tolist() == pad(found.items[start : stop - 1], length, side)
        assert batch.times[place].tolist() == pad(found.times[start : stop - 1], length, side)
        assert batch.targets[place].tolist() == pad(found.items[start + 1 : stop], length, side)
    assert batch.user.tolist() == windows.user[indices].tolist()
    assert batch.padded == bool((batch.items == 0).any())


def test_full_histories_promise_that_there_is_no_padding() -> None:
    found = of_lengths([5, 12])
    source = LastTargetBatches(found, full_only(found, all_rows(found), 6), 6)
    assert not source.batch(np.arange(len(source)), RNG).padded


def negatives_of(found: Interactions, shared: bool) -> NegativeSampler:
    return NegativeSampler(item_counts(found), 3, shared=shared)


def test_negatives_are_part_of_a_batch() -> None:
    found = of_lengths([5, 12])
    windows = cut_windows(found, found.offsets[1:], 4)
    indices = np.arange(3)
    for shared, of_rows, of_windows in ((True, (3,), (3,)), (False, (3, 3), (3, 4, 3))):
        sampler = negatives_of(found, shared)
        rows = LastTargetBatches(found, all_rows(found), 4, negatives=sampler)
        drawn = rows.batch(indices, np.random.default_rng(0)).negatives
        assert drawn is not None
        assert drawn.shape == of_rows
        again = CausalBatches(found, windows, negatives=sampler)
        drawn = again.batch(indices, np.random.default_rng(0)).negatives
        assert drawn is not None
        assert drawn.shape == of_windows
    assert CausalBatches(found, windows).batch(indices, RNG).negatives is None


@pytest.mark.parametrize("workers", [0, 2])
def test_the_training_loop_reads_the_same_batches_with_and_without_workers(workers: int) -> None:
    found = of_lengths([30, 7, 12])
    windows = cut_windows(found, found.offsets[1:], 4)
    source: BatchSource = CausalBatches(
        found, windows, jitter=True, negatives=negatives_of(found, shared=False)
    )
    order = DataOrder(len(source), 5, "epoch", seed=0)
    expected = [
        source.batch(indices, np.random.default_rng((0, 2, 1, number, 0)))
        for number, indices in enumerate(order.epoch(1))
    ]
    for step, batch in zip(micro_batches(source, order, 1, 0, 0, workers), expected, strict=True):
        ((built, _),) = step
        for name in ("items", "times", "targets", "user", "negatives"):
            assert torch.equal(getattr(built, name), getattr(batch, name)), name


def test_sources_can_be_sent_to_other_processes() -> None:
    found = of_lengths([6])
    source = pickle.loads(pickle.dumps(LastTargetBatches(found, all_rows(found), 3)))
    assert source.batch(np.arange(2), RNG).items.shape == (2, 3)


def test_a_history_without_room_is_refused() -> None:
    found = of_lengths([6])
    with pytest.raises(ParameterError, match="at least 1 item"):
        LastTargetBatches(found, all_rows(found), 0)


@pytest.mark.gpu
def test_batches_built_on_a_gpu_and_sent_to_it_are_those_of_the_cpu() -> None:
    found = of_lengths([30, 7, 12])
    windows = cut_windows(found, found.offsets[1:], 4)
    on_cpu, on_gpu = CausalBatches(found, windows), CausalBatches(found, windows, device=GPU)
    indices = np.arange(len(windows))
    here, there = on_cpu.batch(indices, RNG), on_gpu.batch(indices, RNG)
    for batch in (there, here.to(GPU)):
        for name in ("items", "times", "targets", "user"):
            assert getattr(batch, name).device.type == GPU.type
            assert torch.equal(getattr(batch, name).cpu(), getattr(here, name)), name
        assert batch.padded == here.padded
