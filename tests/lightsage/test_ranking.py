import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okml.errors import ParameterError
from okml.lightsage import ranking
from okml.lightsage.ranking import (
    Rule,
    TiedRanks,
    clones_of,
    rank_pairs,
    top_lists,
    vector_scorer,
)


def table_scorer(table):
    return lambda items: torch.from_numpy(table)[items]


def drawn_vectors(rng):
    return torch.from_numpy(rng.normal(size=(50, 4)).astype(np.float32))


def test_constant_scores_find_a_target_by_chance_exactly():
    n = 50
    pairs = np.arange(10), np.arange(10) + 20
    (found,) = rank_pairs(lambda items: torch.zeros(len(items), n), *pairs)
    assert found.hit(10) == pytest.approx(10 / (n - 1))


def test_ranks_by_hand():
    table = np.array([[9, 3, 3, 5, 1]], np.float32)
    (found,) = rank_pairs(table_scorer(table), *map(np.array, ([0, 0, 0], [1, 3, 4])))
    assert found.above.tolist() == [1, 0, 3]  # the viewed item is no candidate
    assert found.tied.tolist() == [2, 1, 1]
    assert found.hit(1).tolist() == [0, 1, 0]
    assert found.hit(2).tolist() == [0.5, 1, 0]
    assert found.reciprocal_rank(20) == pytest.approx([(1 / 2 + 1 / 3) / 2, 1, 1 / 4])
    assert found.ndcg(3) == pytest.approx([(1 / np.log2(3) + 1 / np.log2(4)) / 2, 1, 0])


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_expected_metrics_are_those_of_ties_broken_at_random(seed, k):
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 4, (1, 12)).astype(np.float32)
    (found,) = rank_pairs(table_scorer(table), np.array([0]), np.array([5]))
    ranks = []
    for _ in range(3000):
        order = np.lexsort((rng.random(12), -table[0]))
        order = order[order != 0]
        ranks.append(np.flatnonzero(order == 5)[0] + 1)
    ranks = np.array(ranks)
    assert found.hit(k)[0] == pytest.approx((ranks <= k).mean(), abs=0.05)
    assert found.reciprocal_rank(k)[0] == pytest.approx(((ranks <= k) / ranks).mean(), abs=0.05)


def test_batches_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = drawn_vectors(rng)
    item, target = rng.integers(0, 25, 40), rng.integers(25, 50, 40)
    (whole,) = rank_pairs(vector_scorer(vectors), item, target)
    lists = top_lists(vector_scorer(vectors), item, 5)
    monkeypatch.setattr(ranking, "BATCH_BYTES", 700)
    (parts,) = rank_pairs(vector_scorer(vectors), item, target)
    assert (whole.above == parts.above).all()
    assert (lists == top_lists(vector_scorer(vectors), item, 5)).all()


def test_a_list_has_the_best_items_but_the_viewed_one():
    vectors = drawn_vectors(np.random.default_rng(0))
    items = np.arange(50)
    lists = top_lists(vector_scorer(vectors), items, 10)
    assert (lists != items[:, None]).all()
    scores = (vectors @ vectors.T).numpy()
    np.fill_diagonal(scores, -np.inf)
    best = np.sort(scores, axis=1)[:, ::-1][:, :10]
    assert np.allclose(np.take_along_axis(scores, lists, axis=1), best, atol=1e-5)


def test_what_cannot_be_shown_has_no_rank():
    rng = np.random.default_rng(0)
    vectors = drawn_vectors(rng)
    ads = rng.random(50) < 0.5
    target = np.flatnonzero(~ads)[:1]
    (found,) = rank_pairs(vector_scorer(vectors), np.array([0]), target, [Rule(candidates=ads)])
    with pytest.raises(ParameterError, match="cannot be shown"):
        found.hit(10)
    assert len(found.where(found.tied > 0)) == 0


def test_ranks_among_some_are_those_of_a_smaller_shop():
    rng = np.random.default_rng(0)
    table = rng.integers(0, 9, (50, 50)).astype(np.float32)
    ads = rng.random(50) < 0.5
    item = rng.integers(0, 50, 60)
    target = rng.choice(np.flatnonzero(ads), 60)
    item = np.where(item == target, (item + 1) % 50, item)
    both = rank_pairs(table_scorer(table), item, target, [Rule(), Rule(candidates=ads)])
    for number, (i, j) in enumerate(zip(item, target, strict=True)):
        for found, others in zip(both, (np.ones(50, bool), ads), strict=True):
            others = others & (np.arange(50) != i)
            assert found.above[number] == (table[i, others] > table[i, j]).sum()
            assert found.tied[number] == (table[i, others] == table[i, j]).sum()


def test_other_listings_of_the_viewed_product_are_left_out():
    table = np.array([[0, 5, 4, 3, 2]], np.float32)
    clones = clones_of(np.array([7, 7, 7, 8, 9]))
    assert sorted(clones[0][clones[0] >= 0]) == [1, 2]
    assert (clones[3:] == -1).all()
    item, target = np.array([0, 0]), np.array([4, 2])
    plain, apart = rank_pairs(table_scorer(table), item, target, [Rule(), Rule(clones=clones)])
    assert plain.above.tolist() == [3, 1]
    assert (apart.above[0], apart.tied.tolist()) == (1, [1, 0])  # 2 is a listing of the product


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ParameterError, match="not a number"):
        rank_pairs(lambda items: torch.full((len(items), 50), torch.nan), *np.eye(2, 1, dtype=int))


def test_ranking_knows_its_length():
    assert len(TiedRanks(np.zeros(3, np.int64), np.ones(3, np.int64))) == 3
