"""The prefix language model: against the arms' backbone, and against windows read one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okml.seqrec.backbone import Backbone
from okml.seqrec.batches import CausalBatches
from okml.seqrec.rows import cut_windows
from okml.seqrec.settings import BackboneSettings
from okml.strec.prefixes import PrefixBackbone, PrefixBatches
from tests.seqrec.logs import lengths, of_lengths

N, ITEMS = 6, 20


def options(causal: bool, norm: str = "post") -> BackboneSettings:
    return BackboneSettings(
        length=N, width=12, heads=3, layers=3, hidden=24, dropout=0.0, initial_std=0.4,
        causal=causal, padding_side="left", norm=norm, embedding_norm=True,
    )  # fmt: skip


def start() -> PrefixBackbone:
    torch.manual_seed(0)
    return PrefixBackbone(ITEMS, options(causal=True)).eval()


def histories(short: int = 0) -> torch.Tensor:
    items = torch.randint(1, ITEMS + 1, (4, N), generator=torch.Generator().manual_seed(1))
    items[: len(items) // 2, :short] = 0
    return items


@pytest.mark.parametrize("short", [0, 3, N - 1])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_an_arm_begins_where_the_warm_start_ended(short: int, norm: str) -> None:
    torch.manual_seed(0)
    trained = PrefixBackbone(ITEMS, options(causal=True, norm=norm)).eval()
    arm = Backbone(ITEMS, options(causal=False, norm=norm)).eval()
    arm.load_state_dict(trained.state_dict())
    items = histories(short)
    torch.testing.assert_close(trained.last(items), arm.last(items))
    assert not torch.allclose(trained(items)[:, -1], arm.last(items), atol=1e-3)


@given(st.integers(0, N - 1), st.integers(0, N - 1), st.integers(0, N - 1))
@torch.no_grad()
def test_a_position_reads_the_past_and_its_own_prefix(prefix: int, read: int, moved: int) -> None:
    model, items = start(), histories()
    inside = torch.arange(N).expand(len(items), N) < prefix
    other = items.clone()
    other[:, moved] = items[:, moved] % ITEMS + 1
    before, after = (model.after_prefix(each, None, inside)[:, read] for each in (items, other))
    seen = moved <= read or (moved < prefix and read < prefix)
    assert torch.allclose(before, after, atol=1e-6) != seen


@given(lengths, st.integers(0, 2**32 - 1))
def test_no_target_is_seen_and_every_other_one_is_asked_for(sizes: list[int], seed: int) -> None:
    found = of_lengths(sizes)
    windows = cut_windows(found, found.offsets[1:], N)
    indices = np.arange(len(windows))
    batch = PrefixBatches(found, windows).batch(indices, np.random.default_rng(seed))
    every = CausalBatches(found, windows).batch(indices, np.random.default_rng(seed))
    for row in range(len(indices)):
        real = [at for at in range(N) if every.items[row, at]]
        inside = [at for at in real if batch.prefix[row, at]]
        assert inside == real[: len(inside)] != real
        asked = [at for at in real if at + 1 not in inside]
        assert batch.windows.targets[row].nonzero().flatten().tolist() == asked
        assert (batch.windows.targets[row] == every.targets[row])[asked].all()
    assert batch.windows.count == int((batch.windows.targets != 0).sum())


def test_the_number_of_targets_is_the_mean_over_all_prefixes() -> None:
    sizes = [2, 3, 5, N + 1, 2 * N + 3]
    found = of_lengths(sizes)
    source = PrefixBatches(found, cut_windows(found, found.offsets[1:], N))
    asked = 0.0
    for items in (1, 2, 4, N, N, N, 2, N, 2):  # of the windows; the last two hold all items
        asked += np.mean([items - max(prefix - 1, 0) for prefix in range(items)])
    assert source.expected_targets() == pytest.approx(asked)
