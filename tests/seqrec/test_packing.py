"""Packed batches: the padded ones without their padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okml.seqrec.batches import CausalBatches
from okml.seqrec.embedding import from_the_end
from okml.seqrec.mixers.base import PaddingSide
from okml.seqrec.packing import PackedBatch, PackedBatches, pack, pad_tokens, unpack
from okml.seqrec.rows import cut_windows
from tests.seqrec.logs import lengths, of_lengths

TENSORS = ("items", "times", "targets", "positions", "cu_seqlens", "user")


def check_equal(a: PackedBatch, b: PackedBatch) -> None:
    for name in TENSORS:
        one, other = getattr(a, name), getattr(b, name)
        assert one.dtype == other.dtype, name
        assert torch.equal(one, other), name
    assert (a.longest, a.length) == (b.longest, b.length)


@given(lengths, st.integers(1, 8), st.sampled_from(["left", "right"]), st.booleans())
def test_packed_and_padded_sources_agree(
    sizes: list[int], length: int, side: PaddingSide, jitter: bool
) -> None:
    found = of_lengths(sizes)
    windows = cut_windows(found, found.offsets[1:], length)
    indices = np.random.default_rng(1).permutation(len(windows))
    padded = CausalBatches(found, windows, padding_side=side, jitter=jitter)
    packed = PackedBatches(found, windows, jitter=jitter)
    a, b = (source.batch(indices, np.random.default_rng(2)) for source in (padded, packed))
    check_equal(pack(a), b)
    back = unpack(b, side)
    for name in ("items", "times", "targets", "user"):
        assert torch.equal(getattr(back, name), getattr(a, name)), name
    assert back.padded == a.padded
    # A model that numbers positions from the end reads the same ones.
    assert torch.equal(from_the_end(a.items, length)[a.items != 0], b.positions)


def test_a_packed_batch_by_hand() -> None:
    found = of_lengths([3, 4], items=2)
    windows = cut_windows(found, found.offsets[1:], length=2)
    batch = PackedBatches(found, windows).batch(np.array([2, 0]), np.random.default_rng(0))
    # Window 2 is the first target of user 1 (4 events: two targets, then one); window 0 all of 0.
    a, b = found.items[3:7], found.items[:3]
    assert batch.items.tolist() == [a[0], b[0], b[1]]
    assert batch.targets.tolist() == [a[1], b[1], b[2]]
    assert batch.positions.tolist() == [1, 0, 1]
    assert batch.cu_seqlens.tolist() == [0, 1, 3]
    assert (batch.longest, batch.length) == (2, 2)


def test_hidden_states_are_spread_and_gathered_with_gradients() -> None:
    tokens = torch.arange(1.0, 13).view(6, 2).requires_grad_()
    sizes = torch.tensor([0, 1, 4, 6], dtype=torch.int32)
    padded = pad_tokens(tokens, sizes, 3, "right")
    expected = torch.zeros(3, 3, 2)
    expected[0, :1], expected[1], expected[2, :2] = tokens[:1], tokens[1:4], tokens[4:]
    assert torch.equal(padded, expected)
    padded.sum().backward()
    assert torch.equal(tokens.grad, torch.ones(6, 2))


@pytest.mark.gpu
def test_packed_batches_built_on_a_gpu_are_those_of_the_cpu() -> None:
    found = of_lengths([30, 7, 12])
    windows = cut_windows(found, found.offsets[1:], 4)
    a, b = (
        PackedBatches(found, windows, device=torch.device(device)).batch(
            np.arange(len(windows)), np.random.default_rng(0)
        )
        for device in ("cpu", "cuda")
    )
    check_equal(a, b.to("cpu"))
