import numpy as np
import polars as pl
import pytest
import torch

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions
from okml.seqrec.models import BERT4Rec, ClozeBatches, bert4rec
from okml.seqrec.rows import cut_windows
from tests.seqrec.models.encoders import ITEMS, encoder, left_padded

MASK = 100


def test_it_asks_with_a_mask_behind_the_history():
    model = encoder("bert4rec")
    expected = model(left_padded([[3, 7, model.mask]]))[:, -1]
    torch.testing.assert_close(model.last(left_padded([[3, 7]])), expected)


def test_a_full_history_gives_up_its_oldest_item():
    model = encoder("bert4rec")
    full = torch.tensor([[9, 1, 2, 3, 4, 5]])
    torch.testing.assert_close(model.last(full), model.last(left_padded([[1, 2, 3, 4, 5]])))


def test_the_mask_is_no_item():
    model = encoder("bert4rec")
    assert model.mask == ITEMS + 1
    assert len(model.item_matrix()) == ITEMS + 1


def test_a_causal_backbone_is_refused():
    with pytest.raises(ParameterError, match="both directions"):
        BERT4Rec(ITEMS, bert4rec(causal=True))


@pytest.fixture
def log() -> Interactions:
    """Two users; item numbers follow the order of events, times are ten times those."""
    events = range(1, 13)
    frame = {"user": [1] * 9 + [2] * 3, "item": list(events), "time": [10 * e for e in events]}
    return Interactions.from_frame(pl.DataFrame(frame))


def cloze(log: Interactions, **options) -> ClozeBatches:
    return ClozeBatches(log, cut_windows(log, log.offsets[1:], length=4), MASK, **options)


def rows(log: Interactions, **options):
    source = cloze(log, **options)
    return source.batch(np.arange(len(source)), np.random.default_rng(0))


def test_unmasked_it_is_the_windows(log):
    batch = rows(log, ratio=0.5, last_only=0.5)
    whole = torch.where(batch.items == MASK, batch.targets, batch.items)
    assert whole.tolist() == [[5, 6, 7, 8, 9], [1, 2, 3, 4, 5], [0, 0, 10, 11, 12]]
    assert batch.times.tolist() == (10 * whole).tolist()
    assert torch.equal(batch.items == MASK, batch.targets != 0)
    assert batch.padded
    assert batch.user.tolist() == [0, 0, 1]


def test_every_row_has_a_target_even_if_none_is_drawn(log):
    batch = rows(log, ratio=0.0)
    assert batch.targets.tolist() == [[0, 0, 0, 0, 9], [0, 0, 0, 0, 5], [0, 0, 0, 0, 12]]


def test_last_only(log):
    batch = rows(log, ratio=1.0, last_only=1.0)
    assert (batch.targets != 0).sum(1).tolist() == [1, 1, 1]
    batch = rows(log, ratio=1.0, last_only=0.0)
    assert torch.equal(batch.items == MASK, torch.tensor([[1] * 5, [1] * 5, [0, 0, 1, 1, 1]]) == 1)


def test_shares_of_masked_items(log):
    source, rng = cloze(log, ratio=0.3, last_only=0.25), np.random.default_rng(0)
    batches = [source.batch(np.zeros(500, dtype=np.int64), rng) for _ in range(8)]
    masked = torch.cat([batch.targets != 0 for batch in batches]).double()  # [4000, 5]
    # Of three quarters of the rows each item at 0.3, the last also if no other is.
    share = 0.75 * 0.3
    np.testing.assert_allclose(masked[:, :-1].mean(0), share, atol=0.025)
    last = 0.25 + 0.75 * (0.3 + 0.7 * 0.7**4)
    assert float(masked[:, -1].mean()) == pytest.approx(last, abs=0.025)


def test_ratios_are_probabilities(log):
    with pytest.raises(ParameterError, match="probabilities"):
        cloze(log, ratio=1.5)
