import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions
from okml.seqrec.losses.sampled import InBatchSoftmax
from okml.video_workshop.config import PROFILES
from okml.video_workshop.items.cold_split import hold_out_items
from okml.video_workshop.items.maker import TableMaker
from okml.video_workshop.items.multimodal import ContentTable
from okml.video_workshop.items.pretraining import (
    CoEngagement,
    co_engaged_pairs,
    info_nce,
    partner_recall,
    unit_vectors,
)
from okml.video_workshop.items.study import ItemsStudy
from okml.video_workshop.planning import plan
from okml.video_workshop.settings.items import CoEngagementSettings, ItemsSettings
from okml.video_workshop.settings.users import UserModelSettings

KINDS, EACH, USERS, EVENTS = 6, 8, 60, 14


def log_of(histories):
    rows = [(user, item, place) for user, items in enumerate(histories)
            for place, item in enumerate(items)]  # fmt: skip
    return Interactions.from_frame(
        pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    )


def walked_pairs(log, first, end, window):
    """Return the pairs of a walk through all histories, in both directions."""
    found = []
    for user in range(log.user_count):
        for a in range(first[user], end[user]):
            for b in range(a + 1, min(a + window + 1, end[user])):
                one, other = int(log.items[a]), int(log.items[b])
                if one != other:
                    found += [(one, other), (other, one)]
    return found


@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=9), min_size=1, max_size=6),
    st.integers(1, 4),
    st.data(),
)
@settings(deadline=None)
def test_pairs_are_those_of_a_walk_within_each_user_and_the_cut(histories, window, data):
    log = log_of(histories)
    lengths = np.diff(log.offsets).tolist()
    end = log.offsets[:-1] + np.array([data.draw(st.integers(0, n)) for n in lengths])
    for first, last in ((log.offsets[:-1], end), (end, log.offsets[1:])):
        wanted = walked_pairs(log, first, last, window)
        if wanted:
            found = co_engaged_pairs(log, first, last, window)
            assert sorted(map(tuple, found.tolist())) == sorted(wanted)
        else:
            with pytest.raises(ParameterError, match="No user has two different items"):
                co_engaged_pairs(log, first, last, window)


def test_partner_recall_by_hand():
    vectors = torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 0.1], [0.0, 3.0], [1.0, 0.2]])
    candidates = np.array([False, True, True, True, False])
    # Nearest among items 1 to 3 but the item itself: of 1 it is 2, of 3 it is 2, of 4 it is 2.
    pairs = np.array([[1, 2], [1, 3], [3, 2], [3, 1], [4, 2]])
    assert partner_recall(vectors, pairs, candidates, k=1) == pytest.approx(3 / 5)
    assert partner_recall(vectors, pairs, candidates, k=2) == 1


def test_the_loss_against_a_plain_formula():
    torch.manual_seed(0)
    first, second = (torch.nn.functional.normalize(torch.randn(5, 3), dim=1) for _ in range(2))
    # A partner twice, and a partner of one item that is another item of the batch.
    items, partners = torch.tensor([1, 2, 3, 4, 6]), torch.tensor([5, 5, 6, 1, 2])
    share = torch.tensor([0.0, 0.3, 0.1, 0.05, 0.05, 0.2, 0.3])
    losses = []
    for a in range(5):
        right = math.exp(float(first[a] @ second[a]) / 0.07)
        wrong = 0.0
        for b in range(5):
            if partners[b] not in (partners[a], items[a]):
                expected = 4 * float(share[partners[b]])  # draws of it among four
                wrong += math.exp(float(first[a] @ second[b]) / 0.07) / expected
        losses.append(-math.log(right / (right + wrong)))
    found = info_nce(first, second, items, partners, share.log(), 0.07)
    assert found.item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_without_meetings_of_items_and_partners_it_is_the_softmax_of_a_batch():
    torch.manual_seed(0)
    matrix = torch.nn.functional.normalize(torch.randn(9, 4), dim=1)
    items, partners = torch.tensor([1, 2, 3]), torch.tensor([5, 6, 8])
    log_q = torch.rand(9).log()
    wanted = InBatchSoftmax(log_q)(matrix[items] / 0.1, matrix, partners)
    found = info_nce(matrix[items], matrix[partners], items, partners, log_q, 0.1)
    torch.testing.assert_close(found, wanted)


def test_only_modalities_that_items_have_are_reconstructed():
    torch.manual_seed(0)
    text = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    cover = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
    cover[[2, 4]] = np.nan
    table = ContentTable({"text": text, "cover": cover}, 6, hidden=4)
    how = CoEngagementSettings(reconstruction=0.3)
    model = CoEngagement(table, torch.zeros(5), how).eval()
    losses = model(torch.tensor([1, 2]), torch.tensor([3, 4]))
    made = model.decoders["cover"](table()[[1, 3]])
    errors = (made - torch.from_numpy(cover[[1, 3]])).square().sum(1)
    torch.testing.assert_close(losses["cover"], errors.mean())
    total = losses["partner"] + 0.3 * (losses["text"] + losses["cover"])
    torch.testing.assert_close(losses["loss"], total)


@pytest.fixture(scope="module")
def planted():
    """Users who go between two kinds of items, of which nothing that is given says why.

    Items of kind k are watched with those of kind k + 3.
    """
    rng = np.random.default_rng(0)
    histories = []
    for user in range(USERS):
        kinds = (user + 3 * np.arange(EVENTS)) % KINDS
        histories.append([int(EACH * kind + rng.integers(EACH)) for kind in kinds])
    log = log_of(histories)
    kind = np.array([-1, *(int(name) // EACH for name in log.item_ids)])
    axes = np.linalg.qr(rng.normal(size=(12, 12)))[0][:KINDS]
    features = axes[kind] + 0.1 * rng.normal(size=(len(kind), 12))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    features[0] = 0
    return log, kind, {"text": features.astype(np.float32)}


ITEMS = ItemsSettings(
    hidden=16,
    levels=2,
    codes=4,
    least_events=3,
    components=8,
    pretraining=CoEngagementSettings(width=8, window=1, steps=150, batch=64, learning_rate=1e-2),
    model=UserModelSettings(width=4, heads=1),
)


def pretrainer(log, modalities, folder, **changes):
    changed = ITEMS.pretraining.model_copy(update=changes)
    profile = PROFILES["cpu"].model_copy(
        update={"items": ITEMS.model_copy(update={"pretraining": changed}), "device": "cpu"}
    )
    study = ItemsStudy(profile, folder)
    study.folder = folder
    study.split = hold_out_items(log, ITEMS)
    study.modalities = lambda seed: modalities
    return study


def test_planted_partners_are_learned_also_of_new_items(planted, tmp_path):
    log, kind, modalities = planted
    trainer = pretrainer(log, modalities, tmp_path)
    given, learned = torch.from_numpy(modalities["text"]), torch.from_numpy(trainer.vectors(0))
    known = trainer.split.known
    # Among the nearest two kinds of items: its own, and the one it is watched with.
    recalls = [
        partner_recall(vectors.nan_to_num(), trainer.later_pairs, known, k=2 * EACH)
        for vectors in (given, learned)
    ]
    assert recalls[0] < 0.5 < 0.9 < recalls[1]
    new = np.flatnonzero(trainer.split.cold & (kind >= 0))
    wanted = np.array(
        [(i, j) for i in new for j in np.flatnonzero(known) if (kind[i] + 3) % KINDS == kind[j]]
    )
    assert partner_recall(learned.nan_to_num(), wanted, known, k=2 * EACH) > 0.9


def test_pairs_hold_no_item_that_is_held_out_and_no_event_after_the_cut(planted, tmp_path):
    log, _, modalities = planted
    trainer = pretrainer(log, modalities, tmp_path, window=3)
    split = trainer.split
    assert not split.cold[trainer.pairs].any()
    wanted = walked_pairs(split.log, split.log.offsets[:-1], split.train_end, 3)
    assert sorted(map(tuple, trainer.pairs.tolist())) == sorted(wanted)


def test_vectors_of_known_items_do_not_depend_on_the_content_of_new_ones(planted, tmp_path):
    log, _, modalities = planted
    first = pretrainer(log, modalities, tmp_path / "first", steps=5)
    changed = modalities["text"].copy()
    changed[first.split.cold] = 7.0
    second = pretrainer(log, {"text": changed}, tmp_path / "second", steps=5)
    known = first.split.known
    np.testing.assert_array_equal(first.vectors(0)[known], second.vectors(0)[known])


def test_a_resumed_training_equals_an_uninterrupted_one(planted, tmp_path):
    log, _, modalities = planted
    cover = np.random.default_rng(1).normal(size=(len(modalities["text"]), 3)).astype(np.float32)
    both = {**modalities, "cover": cover}  # so that modalities are left out at random
    whole = pretrainer(log, both, tmp_path / "whole", steps=10).pretrained(0)
    pretrainer(log, both, tmp_path / "parts", steps=4).pretrained(0)
    resumed = pretrainer(log, both, tmp_path / "parts", steps=10).pretrained(0)
    torch.testing.assert_close(unit_vectors(resumed)[1:], unit_vectors(whole)[1:], atol=0, rtol=0)


def test_a_table_has_the_same_weights_whether_its_vectors_were_there_or_not(planted, tmp_path):
    log, _, modalities = planted
    trainer = pretrainer(log, modalities, tmp_path, steps=5)
    maker = TableMaker(trainer.modalities, trainer.split.counts, ITEMS)
    for arm in ("content_pretrained", "sid_pretrained"):
        with pytest.raises(ParameterError, match="no pre-trained vectors"):
            maker.make(arm, 0)
        made = []
        for given_by in (trainer, pretrainer(log, modalities, tmp_path, steps=5)):
            torch.manual_seed(1)
            table = replace(maker, pretrained=given_by.vectors).make(arm, 0).eval()
            made.append(table())
        torch.testing.assert_close(made[0], made[1], atol=0, rtol=0)
        assert (made[0][0] == 0).all()


def test_an_item_without_any_modality_has_no_vector():
    features = np.ones((4, 2), np.float32)
    features[2] = np.nan
    found = unit_vectors(ContentTable({"text": features}, 3).eval())
    assert found.isnan().all(1).tolist() == [True, False, True, False]
    torch.testing.assert_close(found[1].norm(), torch.tensor(1.0))


def test_the_plan_counts_a_pretraining_a_seed():
    # Networks and decoders of 1,024, 1,024 and 768 numbers; 1,024 partners for each of as many.
    weights = sum(f * 512 + 512 * 128 + 128 * f for f in (1024, 1024, 768))
    flops = 2 * weights + 1024 * 128
    item = next(i for i in plan(PROFILES["gpu"]).items if "content vectors" in i.what)
    step = 3 * 2 * 1024 * flops / 150e12 + 0.04
    assert item.value == pytest.approx(3 * 20_000 * step / 3600)
    assert not any("content vectors" in i.what for i in plan(PROFILES["smoke"]).items)
