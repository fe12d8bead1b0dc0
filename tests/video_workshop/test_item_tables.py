from typing import get_args

import numpy as np
import pytest
import torch

from okml.video_workshop.items.hybrid import EvidenceGate, HybridTable
from okml.video_workshop.items.maker import TableMaker, size_of
from okml.video_workshop.items.multimodal import ContentTable, MultimodalItemEncoder
from okml.video_workshop.items.shared_rows import (
    SharedRows,
    hashed,
    prefixes,
    random_codes,
    unigrams,
)
from okml.video_workshop.settings.items import ItemArm, ItemsSettings, RQVAESettings
from okml.video_workshop.settings.users import UserModelSettings

ITEMS = 60


@pytest.fixture
def maker():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(ITEMS + 1, 6)).astype(np.float32)
    features[0] = 0
    counts = rng.integers(1, 30, size=ITEMS + 1)
    counts[[0, 7, 8]] = 0
    settings = ItemsSettings(
        levels=4, codes=8, prefix_codes=4, hidden=8, model=UserModelSettings(width=4, heads=1),
        rqvae=RQVAESettings(hidden=(4,), latent=3, batch=16, steps=3),
    )  # fmt: skip
    return TableMaker(lambda seed: {"text": features}, counts, settings)


@pytest.mark.parametrize("arm", get_args(ItemArm))
def test_a_table_is_its_lookups_and_padding_is_zero(maker, arm):
    table = maker.make(arm, seed=0).eval()
    everything = table()
    assert everything.shape == (ITEMS + 1, 4)
    assert (everything[0] == 0).all()
    ids = torch.tensor([[3, 0], [59, 3], [60, 7]])
    torch.testing.assert_close(table.lookup(ids), everything[ids])


def test_compressed_arms_have_the_same_rows_and_lookups(maker):
    for arm in ("random_codes", "sid_unigram", "sid_rqvae", "sid_prefix"):
        assert size_of(maker.make(arm, 0))[:2] == (32, 4), arm
    assert size_of(maker.make("hash", 0))[:2] == (32, 1)
    assert size_of(maker.make("id", 0)).rows == ITEMS


def test_quantizers_do_not_look_at_items_without_training_events(maker):
    before = maker.semantic_codes(8, 0)
    changed = maker.modalities(0)["text"].copy()
    changed[[7, 8]] = 100
    other = TableMaker(lambda seed: {"text": changed}, maker.counts, maker.settings)
    known = torch.from_numpy(maker.known)
    torch.testing.assert_close(other.semantic_codes(8, 0)[known], before[known])


def test_items_with_a_common_prefix_differ_by_the_rest():
    codes = torch.tensor([[0, 0, 0], [1, 2, 0], [1, 2, 1], [1, 0, 0]])
    known = np.array([False, True, True, True])
    places, rows = prefixes(codes, known)
    assert rows == 1 + 2 + 3
    table = SharedRows(places, rows, 5, known)
    first, second = table()[1], table()[2]
    third = table.rows.weight[places[:, 2]]
    torch.testing.assert_close(first - second, third[1] - third[2])


def test_a_prefix_that_training_never_sees_has_no_row():
    codes = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 0]])
    places, rows = prefixes(codes, np.array([False, True, False, False]))
    assert rows == 2
    assert places.tolist() == [[0, 0], [1, 2], [1, 0], [0, 0]]


def test_two_items_meet_as_seldom_as_a_random_hash_lets_them():
    places = hashed(2000, 100, seed=0)[1:, 0]
    same = (places[:, None] == places).float().triu(1).sum() / (2000 * 1999 / 2)
    assert 0.008 < float(same) < 0.012
    assert places.min() >= 1
    assert places.max() <= 100


def test_unigrams_by_hand():
    codes = torch.tensor([[0, 0, 0, 0], [1, 2, 0, 1]])
    places, rows = unigrams(codes, 3)
    assert rows == 12
    assert places.tolist() == [[0] * 4, [2, 6, 7, 11]]


def test_a_sum_of_rows_trains_exactly_its_rows():
    places, rows = unigrams(random_codes(5, 2, 3, seed=0), 3)
    table = SharedRows(places, rows, 4)
    table.lookup(torch.tensor([2, 2])).sum().backward()
    wanted = torch.zeros_like(table.rows.weight)
    wanted[places[2]] = 2.0
    torch.testing.assert_close(table.rows.weight.grad, wanted)


def test_the_gate_gives_new_items_to_content_and_old_ones_to_their_row():
    with torch.no_grad():
        share = EvidenceGate()(torch.tensor([0.0, 19.0, 20.0, 1000.0]))
    assert share[0] < 0.05
    assert share[1] < 0.5 < share[2]  # between 19 and 20 events, both count alike
    assert share[3] > 0.97


def test_an_item_played_new_is_one_that_was_never_seen(maker):
    codes = maker.semantic_codes(4, 0)
    item = 5

    def hybrid(counts, known):
        torch.manual_seed(0)
        return HybridTable(SharedRows(*prefixes(codes, known), 4, known), counts, 0.5)

    playing = hybrid(maker.counts, maker.known).train()
    playing.played[item] = True
    # The same weights, in a table that has never had an event of the item.
    counts = maker.counts.copy()
    counts[item] = 0
    without = hybrid(counts, counts > 0).eval()
    kept = prefixes(codes, maker.known)[0]
    fewer = prefixes(codes, counts > 0)[0]
    with torch.no_grad():
        without.own.rows.weight.copy_(playing.own.rows.weight)
        for place, row in zip(fewer.flatten(), kept.flatten(), strict=True):
            if place > 0:
                without.shared.rows.weight[place] = playing.shared.rows.weight[row]
    everyone = torch.arange(ITEMS + 1)
    torch.testing.assert_close(playing.lookup(everyone), without.lookup(everyone))


def test_a_batch_plays_its_share_of_items_new_and_evaluation_none(maker):
    table = maker.make("hybrid_content", 0).train()
    torch.manual_seed(0)
    shares = []
    for _ in range(200):
        table.redraw()
        shares.append(table.played.float().mean())
    # Of 200 draws of 61 items: 0.15, with a standard deviation of 0.0032.
    assert np.mean(shares) == pytest.approx(0.15, abs=0.016)
    played = table.played.clone()
    torch.testing.assert_close(table.lookup(torch.arange(ITEMS + 1)), table())  # one draw for both
    table.redraw()
    assert (table.played != played).any()
    seen = table()
    table.eval()
    known = torch.from_numpy(maker.known)
    assert ((table() - seen).abs().sum(1) > 0)[known].any()


def test_a_plain_sum_adds_content_to_the_row_and_plays_nothing_new(maker):
    table = maker.make("content_sum", 0).train()
    table.redraw()
    known = torch.from_numpy(maker.known)[:, None]
    torch.testing.assert_close(table(), table.own.rows.weight * known + table.shared())


def test_new_items_exchange_their_content_and_known_ones_keep_it(maker):
    own, exchanged = (maker.make(arm, 0).shared.features("text")
                      for arm in ("hybrid_content", "hybrid_shuffled"))  # fmt: skip
    order = torch.arange(ITEMS + 1)
    order[[7, 8]] = torch.tensor([8, 7])
    assert (exchanged == own[order]).all()
    assert (exchanged[7] != own[7]).all()


def test_a_missing_modality_is_not_read_and_nothing_known_is_zero():
    torch.manual_seed(0)
    encoder = MultimodalItemEncoder({"text": 3, "cover": 4, "sound": 2}, 5).eval()
    torch.nn.init.normal_(encoder.query)
    features = {"text": torch.randn(2, 3), "cover": torch.randn(2, 4), "sound": torch.randn(2, 2)}
    there = torch.tensor([[True, False, True], [False, False, False]])
    found = encoder(features, there)
    assert (found[1] == 0).all()
    other = encoder(features | {"cover": torch.randn(2, 4)}, there)
    torch.testing.assert_close(other, found)
    # By hand: a softmax over the two that are there.
    tokens = [encoder.networks[n](features[n][0]) + encoder.modality[i]
              for i, n in ((0, "text"), (2, "sound"))]  # fmt: skip
    weights = torch.stack([t @ encoder.query / 5**0.5 for t in tokens]).softmax(0)
    torch.testing.assert_close(found[0], weights[0] * tokens[0] + weights[1] * tokens[1])


def test_modality_dropout_never_takes_the_last_one():
    torch.manual_seed(0)
    encoder = MultimodalItemEncoder({"text": 3, "cover": 4}, 5, drop=0.9)
    features = {"text": torch.randn(200, 3), "cover": torch.randn(200, 4)}
    only_text = torch.tensor([True, False]).expand(200, 2)
    encoder.train()
    torch.testing.assert_close(encoder(features, only_text), encoder.eval()(features, only_text))
    encoder.train()
    both = torch.ones(200, 2, dtype=torch.bool)
    assert (encoder(features, both).abs().sum(1) > 0).all()


def test_items_without_a_modality_are_marked_by_nan():
    cover = np.ones((4, 2), np.float32)
    cover[2] = np.nan
    table = ContentTable({"text": np.ones((4, 3), np.float32), "cover": cover}, 5)
    assert table.there.tolist() == [[False, False], [True, True], [True, False], [True, True]]
    assert not table().isnan().any()
