import numpy as np
import polars as pl
import pytest

from okml.errors import ParameterError
from okml.lightsage.comparison import Comparison, evaluate, gini
from okml.lightsage.prepared import Prepared, prepare
from okml.lightsage.ranking import vector_scorer
from okml.lightsage.settings import DataSettings
from tests.lightsage.tiny import SHOP, changed


@pytest.fixture(scope="module")
def data():
    return prepare(DataSettings(name="synthetic", shop=SHOP), 0)


def test_tail_and_cold_are_counted_on_the_training_log_alone(data):
    opened = data.shop.train.frame.filter(pl.col("action").is_in(["view", "click"]))
    counts = dict(opened.group_by("item").len().iter_rows())
    assert all(data.clicks[i] == counts.get(i, 0) for i in range(data.items))
    assert (data.tail == (data.clicks < 8)).all()
    assert (data.cold <= data.tail).all()


def test_chance_finds_ten_of_all_others(data):
    outcome = evaluate(lambda items: np.zeros((len(items), data.items), np.float32), data)
    for name in ("hr@10", "recall@10", "head", "tail"):
        assert outcome.metrics[name] == pytest.approx(10 / (data.items - 1))
    others = data.ads.sum() - data.ads[data.test.item[data.ads[data.test.target]]]
    assert outcome.metrics["ads"] == pytest.approx((10 / others).mean())


def test_slices_are_means_over_their_pairs(data):
    vectors = np.random.default_rng(0).normal(size=(data.items, 4)).astype(np.float32)
    outcome = evaluate(vector_scorer(vectors), data)
    tail = data.tail[data.test.item] | data.tail[data.test.target]
    m = outcome.metrics
    assert m["hr@10"] == pytest.approx(tail.mean() * m["tail"] + (1 - tail.mean()) * m["head"])
    assert m["cold"] == pytest.approx(outcome.hits[data.cold[data.test.target]].mean())
    assert m["recall@10"] == pytest.approx(
        np.mean([outcome.hits[data.test.item == i].mean() for i in np.unique(data.test.item)])
    )


def test_popularity_shows_few_items_and_no_tail(data):
    row = data.clicks.astype(np.float32)
    m = evaluate(lambda items: np.tile(row, (len(items), 1)), data).metrics
    assert m["coverage"] < 12 / data.items
    assert m["tail shown"] == 0
    assert m["gini"] > 0.9


def test_gini_of_equal_and_of_single_counts():
    assert gini(np.full(10, 3)) == pytest.approx(0)
    assert gini(np.array([0] * 9 + [5])) == pytest.approx(0.9)


def test_many_pairs_are_cut_to_the_same_ones_each_time(data):
    settings = changed(data.settings, test_pairs=20)
    one, two = Prepared(settings, data.shop).test, Prepared(settings, data.shop).test
    assert len(one) == 20
    assert (one.item == two.item).all()
    with pytest.raises(ParameterError, match="no pairs"):
        _ = Prepared(settings, changed_shop(data)).test


def changed_shop(data):
    from dataclasses import replace

    return replace(data.shop, test=data.shop.test.clear())


def test_a_summary_pairs_arms_by_viewed_item(data):
    comparison = Comparison("a")
    vectors = np.random.default_rng(0).normal(size=(data.items, 4)).astype(np.float32)
    for seed in (0, 1):
        comparison.add("a", seed, data, vector_scorer(vectors))
        comparison.add("same", seed, data, vector_scorer(vectors))
    summary = comparison.summary()
    same = summary.filter(arm="same").row(0, named=True)
    assert (same["difference"], same["difference low"], same["difference high"]) == (0, 0, 0)
    assert same["seeds"] == 2
    assert same["sd"] == pytest.approx(0)
