"""Batches, resumption and learning under the one loop."""

import numpy as np
import pytest
import torch

from okml.errors import DataError
from okml.lightsage.features import hop_features
from okml.lightsage.network.encoder import VARIANTS, EncoderSettings, LightSAGE
from okml.lightsage.network.sampler import NeighborSampler
from okml.lightsage.ranking import rank_pairs, vector_scorer
from okml.lightsage.training.batches import (
    BlockReader,
    HopReader,
    NegativeSettings,
    PairBatches,
    Positives,
)
from okml.lightsage.training.losses import LossSettings
from okml.lightsage.training.trainer import (
    ContrastiveModel,
    Hyperparameters,
    _share_of_rate,
    train_module,
)
from tests.lightsage.toys import edge_frame, features, graph
from tests.waits import Waits


def positives(items=40):
    return Positives.of(edge_frame(), items)


def reader(name="V0", x=None, **options):
    x = features() if x is None else x
    settings = VARIANTS.get(name, EncoderSettings(item_vectors=True))
    if settings.sampled:
        sampler = NeighborSampler(graph(), (4, 3)[: settings.layers])
        return BlockReader(x, sampler, **options)
    return HopReader(hop_features(x, graph()), **options)


def test_pairs_are_drawn_by_their_weight():
    found = positives()
    rng = np.random.default_rng(0)
    item, neighbor = found.draw(100_000, rng)
    counts = np.bincount(item * 40 + neighbor, minlength=1600) / 100_000
    frame = edge_frame()
    share = frame["weight"].to_numpy() / frame["weight"].sum()
    codes = frame["item"].to_numpy() * 40 + frame["neighbor"].to_numpy()
    assert np.abs(counts[codes] - share).max() < 0.003
    assert counts.sum() == pytest.approx(counts[codes].sum())
    assert found.target_share.sum() == pytest.approx(1)
    assert np.abs(np.bincount(neighbor, minlength=40) / 1e5 - found.target_share).max() < 0.005


def test_a_graph_without_edges_teaches_nothing():
    with pytest.raises(DataError, match="nothing to learn"):
        Positives.of(edge_frame().clear(), 40)


def test_log_q_is_how_often_an_item_stands_in_the_pool():
    source = PairBatches(positives(), reader(), NegativeSettings(count=16), 32)
    counts = np.zeros(40)
    for number in range(3000):
        batch = source.batch(np.arange(32), np.random.default_rng(number))
        counts += np.bincount(torch.cat([batch.target_ids, batch.negative_ids]), minlength=40)
    expected = np.exp(source._log_q)
    assert np.allclose(counts / 3000, expected, rtol=0.12)


def test_the_reader_leaves_each_pairs_own_edge_out():
    source = PairBatches(positives(), reader(), NegativeSettings(count=4), 16)
    batch = source.batch(np.arange(16), np.random.default_rng(0))
    hops = hop_features(features(), graph())
    _, expected = hops.rows_without(batch.query_ids, batch.target_ids)
    assert np.allclose(batch.inputs.neighborhood[:16].numpy(), expected)
    leaking = PairBatches(
        positives(), reader(leave_edge_out=False), NegativeSettings(count=4), 16
    ).batch(np.arange(16), np.random.default_rng(0))
    assert not np.allclose(leaking.inputs.neighborhood[:16].numpy(), expected)


def test_hidden_neighborhoods_look_like_those_of_isolated_items():
    source = PairBatches(positives(), reader(hidden_share=0.5), NegativeSettings(count=64), 64)
    means = source.batch(np.arange(64), np.random.default_rng(0)).inputs.neighborhood
    plain = PairBatches(positives(), reader(), NegativeSettings(count=64), 64)
    before = plain.batch(np.arange(64), np.random.default_rng(0)).inputs.neighborhood
    hidden = (means == 0).all(1).float().mean() - (before == 0).all(1).float().mean()
    assert 0.3 < hidden < 0.6


def test_negatives_come_from_the_candidates_and_an_epoch_is_whole_batches():
    only = np.array([3, 5, 8])
    source = PairBatches(positives(), reader(), NegativeSettings(count=32), 64, candidates=only)
    batch = source.batch(np.arange(64), np.random.default_rng(0))
    assert set(batch.negative_ids.tolist()) == set(only)
    assert len(source) % 64 == 0
    assert len(source) - 64 < len(positives()) <= len(source)


def recipe(**changes):
    return Hyperparameters(**({"batch": 64, "steps": 120, "learning_rate": 2e-2} | changes))


# The distinct items of a batch, and for each of two hops its edges and the items that are new.
SAMPLING = ["aten::_unique2", *["aten::nonzero"] * 4]


@pytest.mark.parametrize(("name", "each_batch"), [("V0", []), ("V3", SAMPLING)])
def test_a_batch_waits_for_no_device_but_to_sample_hops(name, each_batch):
    source = PairBatches(positives(), reader(name), NegativeSettings(count=16), 64)
    source.batch(np.arange(1), np.random.default_rng(0))  # reads the largest degree, once
    model = ContrastiveModel(LightSAGE(VARIANTS[name], 6), LossSettings())
    with Waits() as waits:
        train_module(model, source, recipe(steps=3), seed=0, device="cpu")
    assert waits.seen == each_batch * 4  # the last one is built before the loop ends


@pytest.mark.parametrize("name", ["V0", "V1", "V3", "V4", "ids"])
def test_every_kind_of_encoder_overfits_a_small_graph(name):
    torch.manual_seed(0)
    x = torch.eye(40)  # features that tell every item apart
    settings = VARIANTS.get(name, EncoderSettings(item_vectors=True, item_dropout=0.1))
    encoder = LightSAGE(settings, 40, np.ones(40, bool))
    # To learn by heart, an encoder may read the edge that it predicts.
    reads = reader(name, x, leave_edge_out=False)
    source = PairBatches(positives(), reads, NegativeSettings(count=16), 64)
    frame = edge_frame()
    pairs = (frame[n].to_numpy().astype(np.int64) for n in ("item", "neighbor"))
    item, neighbor = pairs

    def hit():
        vectors = vector_scorer(encoder.embed(x, graph()))
        return rank_pairs(vectors, item, neighbor)[0].hit(10).mean()

    train_module(ContrastiveModel(encoder, LossSettings()), source, recipe(), seed=0, device="cpu")
    assert hit() > 0.5  # by chance: 10 of 39


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path):
    def train(steps, folder):
        torch.manual_seed(0)
        encoder = LightSAGE(VARIANTS["V3"], 6)
        source = PairBatches(positives(), reader("V3"), NegativeSettings(count=16), 64)
        # The rate's schedule is a function of the recipe, so only the loop is cut short.
        with pytest.MonkeyPatch.context() as patch:
            if steps:
                patch.setattr("okml.training.loop._Run._limit", lambda _: (steps, "max_steps"))
            model = ContrastiveModel(encoder, LossSettings())
            train_module(model, source, recipe(steps=30), seed=0, device="cpu", folder=folder)
        return encoder

    whole = train(None, tmp_path / "whole")
    train(11, tmp_path / "parts")
    resumed = train(None, tmp_path / "parts")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_early_stopping_keeps_the_best_weights(tmp_path):
    torch.manual_seed(0)
    encoder = LightSAGE(VARIANTS["V0"], 6)
    source = PairBatches(positives(), reader(), NegativeSettings(count=16), 64)
    values = iter([0.3, 0.5, 0.2, 0.1, 0.0, 0.0, 0.0])
    history = train_module(
        ContrastiveModel(encoder, LossSettings()),
        source,
        recipe(steps=60, evaluate_every=10, patience=2),
        seed=0,
        device="cpu",
        folder=tmp_path,
        evaluate=lambda: {"ndcg@10": next(values)},
    )
    assert (history.best_step, history.stopped_by) == (20, "early_stopping")


@pytest.mark.parametrize(
    ("schedule", "quarter", "last"), [("cosine", (2 + 2**0.5) / 4, 0.0), ("constant", 1.0, 1.0)]
)
def test_the_rate_rises_and_then_follows_its_schedule(schedule, quarter, last):
    rate = _share_of_rate(recipe(steps=20, warmup_steps=4, schedule=schedule))
    assert [rate(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert rate(4) == 1
    assert rate(8) == pytest.approx(quarter)  # a line would have fallen to 0.75
    assert rate(20) == pytest.approx(last, abs=1e-12)


def test_hard_negatives_belong_to_their_item():
    table = np.arange(80).reshape(40, 2) % 40
    source = PairBatches(positives(), reader(), NegativeSettings(count=4, hard=3), 16, hard=table)
    batch = source.batch(np.arange(16), np.random.default_rng(0))
    assert batch.hard.shape == (16, 3)
    for item, row in zip(batch.query_ids.tolist(), batch.hard.tolist(), strict=True):
        assert set(row) <= set(table[item])
    assert len(batch.inputs.own) == 16 + 16 + 4 + 48
