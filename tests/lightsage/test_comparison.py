from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from okml.errors import ParameterError
from okml.ledger import estimate_mean
from okml.lightsage.comparison import PairedComparison, evaluate, gini, slices
from okml.lightsage.ranking import vector_scorer
from okml.lightsage.settings import TaskSettings
from okml.lightsage.task import RetrievalTask, open_task
from tests.lightsage.tiny import SHOP
from tests.profiles import changed


@pytest.fixture(scope="module")
def data():
    return open_task(TaskSettings(name="synthetic", shop=SHOP), 0)


def test_tail_and_cold_are_counted_on_the_training_log_alone(data):
    opened = data.shop.train.filter(pl.col("action").is_in(["view", "click"]))
    counts = dict(opened.group_by("item").len().iter_rows())
    assert all(data.clicks[i] == counts.get(i, 0) for i in range(data.items))
    assert (data.tail == (data.clicks < 8)).all()
    assert (data.cold <= data.tail).all()


def test_chance_finds_ten_of_all_others(data):
    outcome = evaluate(lambda items: torch.zeros(len(items), data.items), data)
    for name in ("hr@10", "recall@10", "head", "tail"):
        assert outcome.metrics[name] == pytest.approx(10 / (data.items - 1))
    others = data.ads.sum() - data.ads[data.test.item[data.ads[data.test.target]]]
    assert outcome.metrics["ads"] == pytest.approx((10 / others).mean())


def test_slices_are_means_over_their_pairs(data):
    vectors = np.random.default_rng(0).normal(size=(data.items, 4)).astype(np.float32)
    outcome = evaluate(vector_scorer(torch.from_numpy(vectors)), data)
    tail = data.tail[data.test.item] | data.tail[data.test.target]
    m = outcome.metrics
    assert m["hr@10"] == pytest.approx(tail.mean() * m["tail"] + (1 - tail.mean()) * m["head"])
    assert m["cold"] == pytest.approx(outcome.hits[data.cold[data.test.target]].mean())
    assert m["recall@10"] == pytest.approx(
        np.mean([outcome.hits[data.test.item == i].mean() for i in np.unique(data.test.item)])
    )


def test_tail_targets_are_pairs_whose_target_has_few_clicks(data):
    opened = data.shop.train.filter(pl.col("action").is_in(["view", "click"]))
    counts = dict(opened.group_by("item").len().iter_rows())
    expected = [counts.get(target, 0) < 8 for target in data.test.target]
    parts = slices(data)
    assert parts["tail target"].tolist() == expected
    assert (parts["cold"] <= parts["tail target"]).all()
    assert (parts["tail target"] < parts["tail"]).any()  # the viewed item alone is of the tail


def test_popularity_shows_few_items_and_no_tail(data):
    row = torch.from_numpy(data.clicks)
    m = evaluate(lambda items: row.expand(len(items), -1), data).metrics
    assert m["coverage"] < 12 / data.items
    assert m["tail shown"] == 0
    assert m["gini"] > 0.9


def test_gini_of_equal_and_of_single_counts():
    assert gini(np.full(10, 3)) == pytest.approx(0)
    assert gini(np.array([0] * 9 + [5])) == pytest.approx(0.9)


def test_many_pairs_are_cut_to_the_same_ones_each_time(data):
    settings = changed(data.settings, test_pairs=20)
    one, two = RetrievalTask(settings, data.shop).test, RetrievalTask(settings, data.shop).test
    assert len(one) == 20
    assert (one.item == two.item).all()
    with pytest.raises(ParameterError, match="no pairs"):
        _ = RetrievalTask(settings, changed_shop(data)).test


def changed_shop(data):
    return replace(data.shop, test=data.shop.test.clear())


def random_scorer(data, seed):
    vectors = np.random.default_rng(seed).normal(size=(data.items, 4)).astype(np.float32)
    return vector_scorer(torch.from_numpy(vectors))


def test_a_summary_pairs_arms(data):
    comparison = PairedComparison("a")
    for seed in (0, 1):
        comparison.add("a", seed, data, random_scorer(data, 0))
        comparison.add("same", seed, data, random_scorer(data, 0))
    summary = comparison.summary()
    same = summary.filter(arm="same").row(0, named=True)
    assert (same["difference"], same["difference low"], same["difference high"]) == (0, 0, 0)
    assert same["seeds"] == 2
    assert same["sd"] == pytest.approx(0)


def test_a_slice_can_be_a_mask_of_each_seed(data):
    log = RetrievalTask(data.settings, replace(data.shop, synthetic=False))
    comparison = PairedComparison("a")
    comparison.add("a", 0, log, random_scorer(log, 0))
    comparison.add("b", 0, log, random_scorer(log, 1))
    mask = np.arange(len(log.test)) % 3 == 0
    gains = comparison.outcomes["b", 0].hits - comparison.outcomes["a", 0].hits
    expected = estimate_mean(gains[mask], "users", clusters=log.test.user[mask])
    found = comparison.difference("b", "a", {0: mask})
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.n == len(set(log.test.user[mask]))
    named = {0: slices(log)["tail"]}
    assert comparison.difference("b", "a", named) == comparison.difference("b", "a", "tail")


def test_seeds_that_draw_their_own_shop_are_the_samples(data):
    other = open_task(data.settings, 1)
    comparison = PairedComparison("a")
    for seed, shop in ((0, data), (1, other)):
        comparison.add("a", seed, shop, random_scorer(shop, 0))
        comparison.add("b", seed, shop, random_scorer(shop, 1))
    found = comparison.difference("b", "a", "tail")
    gains = [
        comparison.outcomes["b", seed].metrics["tail"]
        - comparison.outcomes["a", seed].metrics["tail"]
        for seed in (0, 1)
    ]
    assert found.numbers == pytest.approx(gains)
    half = 12.706205 * abs(gains[1] - gains[0]) / 2  # Student's t with one degree of freedom
    assert (found.low, found.high) == pytest.approx(
        (np.mean(gains) - half, np.mean(gains) + half), abs=1e-5
    )
    users = [slices(shop)["tail"] for shop in (data, other)]
    count = sum(
        len(set(shop.test.user[inside])) for shop, inside in zip((data, other), users, strict=True)
    )
    assert found.n == count


def test_seeds_of_one_log_share_its_users(data):
    log = RetrievalTask(data.settings, replace(data.shop, synthetic=False))
    comparison = PairedComparison("a")
    for seed in (0, 1, 2):
        comparison.add("a", seed, log, random_scorer(log, 0))
        comparison.add("b", seed, log, random_scorer(log, 1 + seed))
    rows = {
        seed: comparison.outcomes["b", seed].hits - comparison.outcomes["a", seed].hits
        for seed in (0, 1, 2)
    }
    expected = estimate_mean(rows, "users", clusters=log.test.user)
    found = comparison.difference("b", "a")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.n == len(set(log.test.user))
    # Three copies of one training know no more of the users than one.
    alone = comparison.estimate("a")
    single = estimate_mean(comparison.outcomes["a", 0].hits, "users", clusters=log.test.user)
    assert (alone.low, alone.high) == pytest.approx((single.low, single.high))
