import numpy as np
import polars as pl
import pytest
import torch

from okml.errors import DataError
from okml.lightsage.adjacency import Adjacency
from okml.lightsage.baselines import pinsage
from okml.lightsage.baselines.item2vec import Item2VecSettings, by_epoch, item2vec
from okml.lightsage.baselines.lightgcn import IdGraph, LightGCNLoss, LightGCNSettings, lightgcn
from okml.lightsage.baselines.pinsage import (
    hard_negatives,
    importance_neighborhoods,
    random_walks,
    visit_counts,
    walk_pairs,
)
from okml.lightsage.baselines.untrained import (
    category_scorer,
    edge_scorer,
    feature_scorer,
    popularity_scorer,
    random_scorer,
    truth_scorer,
)
from okml.lightsage.shop import ShopSettings
from okml.lightsage.shop.catalog import draw_listings
from okml.lightsage.shop.visits import similar_items
from okml.lightsage.training.trainer import Hyperparameters
from tests.lightsage.toys import edge_frame, features, graph

ITEMS = torch.tensor([0, 2])


def test_popularity_is_one_row_for_all():
    scores = popularity_scorer(torch.tensor([3, 1, 2]))(ITEMS)
    assert scores.tolist() == [[3, 1, 2]] * 2


def test_items_of_the_category_come_first_and_then_the_popular_ones():
    clicks, category = torch.tensor([1, 9, 4, 0]), torch.tensor([0, 1, 0, 0])
    order = category_scorer(clicks, category)(torch.tensor([2]))[0].argsort(descending=True)
    assert order.tolist() == [2, 0, 3, 1]


def test_features_are_compared_by_their_angle():
    x = features()
    x[7] = 0
    scores = feature_scorer(x)(ITEMS)
    expected = float(torch.nn.functional.cosine_similarity(x[0], x[2], dim=0))
    assert scores[0, 2] == pytest.approx(expected, abs=1e-6)
    assert scores[0, 7] == 0


def test_random_scores_are_the_same_every_time():
    scorer = random_scorer(50, 0)
    assert (scorer(torch.tensor([3, 4]))[1] == scorer(torch.tensor([4]))[0]).all()


def test_edges_are_scores_and_the_rest_ties_at_zero():
    edges = pl.DataFrame({"item": [0, 0], "neighbor": [1, 2], "weight": [1e-9, 2e-9]})
    scores = edge_scorer(edges, 4, torch.device("cpu"))(torch.tensor([0, 3]))
    assert scores[0, 2] == pytest.approx(2 * scores[0, 1])
    assert scores[0, 1] > 1  # far above a tie
    assert scores[1].tolist() == [0] * 4


def two_worlds(sessions=200, seed=0):
    """Sessions that stay among items 0 to 9 or 10 to 19; item 20 is in none."""
    rng = np.random.default_rng(seed)
    rows = [
        (user, int(10 * (user % 2) + item))
        for user in range(sessions)
        for item in rng.choice(10, 4, replace=False)
    ]
    return pl.DataFrame(rows, schema=["user", "item"], orient="row")


def worlds_apart(vectors):
    vectors = np.asarray(vectors)
    scores = vectors @ vectors.T
    inside = (scores[:10, :10].mean() + scores[10:20, 10:20].mean()) / 2
    return inside - scores[:10, 10:20].mean()


def test_the_truth_ranks_by_the_chance_of_a_click_so_that_no_other_order_hits_more():
    settings = ShopSettings(items=150, leaves=3, candidates=30)
    listings = draw_listings(settings, np.random.default_rng(0))
    page, _ = similar_items(listings, settings)
    scores = truth_scorer(torch.from_numpy(page.likeliest))(torch.arange(150)).numpy()
    # The generator's law, written anew: distance and popularity within the leaf.
    position, popularity = listings.position, listings.popularity
    squared = np.square(position[:, None] - position[None]).mean(-1)
    logits = 0.5 * np.log(popularity) - squared / settings.candidate_temperature
    logits[listings.leaf[:, None] != listings.leaf] = -np.inf
    np.fill_diagonal(logits, -np.inf)
    best = np.argsort(-logits, axis=1)
    assert (np.argsort(-scores, axis=1)[:, :10] == best[:, :10]).all()
    chances = np.exp(logits - logits.max(1, keepdims=True))
    np.put_along_axis(chances, best[:, 30:], 0, axis=1)  # a page shows thirty
    chances /= chances.sum(1, keepdims=True)

    def expected_hits(scores):
        first = np.argsort(-scores, axis=1)[:, :10]
        return np.take_along_axis(chances, first, axis=1).sum(1)

    np.fill_diagonal(squared, np.inf)
    for other in (-squared, np.tile(popularity, (150, 1))):
        assert (expected_hits(scores) >= expected_hits(other) - 1e-9).all()
        assert expected_hits(scores).mean() > expected_hits(other).mean()


def test_the_truth_of_an_item_alone_in_its_leaf_is_nothing():
    likeliest = torch.tensor([[1, 2], [0, -1], [-1, -1]])
    assert truth_scorer(likeliest)(ITEMS).tolist() == [[0, 2, 1], [0, 0, 0]]


def test_item2vec_puts_items_of_one_session_together():
    settings = Item2VecSettings(subsample=0, epochs=30)
    vectors, validations = item2vec(two_worlds(), 21, settings, seed=0, width=8)
    assert validations is None
    assert worlds_apart(vectors) > 0.3
    assert np.allclose(np.linalg.norm(vectors[:20], axis=1), 1, atol=1e-4)
    assert (vectors[20] == 0).all()
    assert (vectors == item2vec(two_worlds(), 21, settings, seed=0, width=8)[0]).all()
    with pytest.raises(DataError, match="two items"):
        item2vec(two_worlds().unique("user"), 21, settings, seed=0)


def test_item2vec_keeps_the_vectors_of_its_best_epoch():
    seen = []

    def evaluate(vectors):
        seen.append(vectors)
        return {"ndcg@10": (0.1, 0.4, 0.2)[len(seen) - 1]}

    settings = Item2VecSettings(subsample=0, epochs=3, schedule="constant")
    vectors, validations = item2vec(two_worlds(), 21, settings, 0, evaluate, 8)
    assert (vectors == seen[1]).all()
    assert all(np.allclose(np.linalg.norm(row[:20], axis=1), 1, atol=1e-4) for row in seen)
    assert validations["step"].to_list() == [1, 2, 3]
    history = by_epoch(validations)
    assert (history.steps, history.best_step, history.best_value) == (3, 2, 0.4)
    # At a constant rate an epoch does not depend on how many follow.
    fewer = settings.model_copy(update={"epochs": 2})
    shorter = item2vec(two_worlds(), 21, fewer, 0, width=8)[0]
    assert np.array_equal(shorter, seen[1])


def test_lightgcn_puts_items_of_one_user_together():
    recipe = Hyperparameters(batch=64, steps=60, learning_rate=5e-2, weight_decay=0)
    settings, users = LightGCNSettings(layers=2, recipe=recipe), IdGraph.of_users(two_worlds(), 21)
    vectors, _ = lightgcn(users, settings, width=8, seed=0, device="cpu")
    assert worlds_apart(vectors) > 0.3
    assert (vectors[20] == 0).all()


def test_lightgcn_is_the_mean_of_the_propagated_vectors():
    torch.manual_seed(0)
    network = IdGraph.of_items(edge_frame(), 40)
    objective = LightGCNLoss(network, LightGCNSettings(layers=2), 4)
    dense = np.zeros((40, 40))
    dense[network.edges[0], network.edges[1]] = dense[network.edges[1], network.edges[0]] = 1
    degree = np.maximum(dense.sum(1), 1)
    step = dense / np.sqrt(degree[:, None] * degree[None, :])
    first = objective.model.embedding.weight.detach().numpy()
    expected = (first + step @ first + step @ step @ first) / 3
    assert np.allclose(objective.vectors().detach(), expected, atol=1e-5)


def test_lightgcns_gradient_is_that_of_pygs_message_passing():
    torch.manual_seed(0)
    network = IdGraph.of_users(two_worlds(), 21)
    objective = LightGCNLoss(network, LightGCNSettings(layers=3), 4)
    both = np.concatenate([network.edges, network.edges[::-1]], axis=1)
    weight = objective.model.embedding.weight
    torch.manual_seed(1)
    toward = torch.randn(len(weight), 4)
    found, expected = (
        torch.autograd.grad((vectors * toward).sum(), weight)[0]
        for vectors in (
            objective.vectors(), objective.model.get_embedding(torch.from_numpy(both.copy()))
        )
    )  # fmt: skip
    torch.testing.assert_close(found, expected)


def test_walks_follow_edges_and_stop_where_there_are_none():
    a = graph()
    walks = random_walks(a, torch.arange(40), 3, np.random.default_rng(0))
    assert (walks[a.isolated] == -1).all()
    going = ~a.isolated
    assert (a.entries(going.nonzero()[:, 0], walks[going, 0]) > 0).all()
    assert (a.entries(walks[going, 0], walks[going, 1]) > 0).all()


def dense_of(visits, nodes=40):
    table = np.zeros((nodes, nodes))
    table[visits.source, visits.target] = visits.count
    return table


@pytest.mark.parametrize("walk_bytes", [2**28, 2**20], ids=["one block", "several blocks"])
def test_visits_are_the_powers_of_the_graph(walk_bytes, monkeypatch):
    monkeypatch.setattr(pinsage, "WALK_BYTES", walk_bytes)
    a = graph()
    visits = dense_of(visit_counts(a, 4000, 2, 0.5, np.random.default_rng(0))) / 4000
    step = a.csr.toarray()
    # Two steps; before the second a walk begins again half of the time.
    expected = step + 0.5 * step + 0.5 * step @ step
    np.fill_diagonal(expected, 0)  # coming back counts for nothing
    assert np.abs(visits - expected).max() < 0.06


def test_importance_keeps_what_is_visited_most():
    visits = visit_counts(graph(), 200, 3, 0.5, np.random.default_rng(0))
    near = importance_neighborhoods(visits, 40, 3)
    dense = dense_of(visits)
    row = 4
    best = np.sort(dense[row])[::-1][:3]
    assert near.degrees.max() == 3
    kept = near.csr[[row]].data
    assert np.sort(kept)[::-1] == pytest.approx(best / best.sum(), abs=1e-5)
    few = visit_counts(graph(), 200, 3, 0.5, np.random.default_rng(0), most=6)
    assert np.array_equal(dense_of(few), dense_of(visits.at(0, 6)))
    table = hard_negatives(visits, 40, np.arange(5, 40), 3, 6, np.random.default_rng(0))
    ranked = dense[row][table[row]]
    assert ranked.max() <= best.min()
    assert table.shape == (40, 3)
    assert table[35:].min() >= 5  # the last five nodes are isolated and have random ones


def test_a_draw_on_the_end_of_a_row_takes_the_last_true_neighbor():
    class Largest:
        """What rounding makes of a draw just below 1."""

        def random(self, count, kind):
            return np.ones(count, kind)

    edges = map(np.array, ([0, 1, 1], [1, 0, 2], [1.0, 1.0, 1.0]))
    adjacency = Adjacency.from_edges(3, *edges)
    walks = random_walks(adjacency, torch.arange(3), 1, Largest())
    assert walks.tolist() == [[1], [2], [-1]]


def test_pairs_of_walks_are_counted():
    chain = Adjacency.from_edges(3, np.array([0, 1]), np.array([1, 2]), np.ones(2))
    frame = walk_pairs(chain, 5, 2, np.random.default_rng(0))
    assert frame.sort("item", "neighbor").rows() == [(0, 1, 5.0), (0, 2, 5.0), (1, 2, 5.0)]
