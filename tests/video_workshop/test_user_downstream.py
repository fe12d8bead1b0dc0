"""What stands on a user model: recommenders, what their modes train, how they are judged."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional

from okml.errors import ParameterError
from okml.seqrec.losses import Softmax
from okml.seqrec.rows import all_rows
from okml.video_workshop.common.data import STARS, exclusive_actions
from okml.video_workshop.settings.users import MultiTaskHeadSettings
from okml.video_workshop.users.batches import RequestBatches, WindowBatches, user_windows
from okml.video_workshop.users.downstream import RankingModel, Retrieval, ranked_labels
from okml.video_workshop.users.evaluation import (
    ItemPairs,
    by_cosine,
    liked_pairs,
    related_ranks,
)
from okml.video_workshop.users.scoring import retrieval_ranks, user_auc
from tests.video_workshop.users_tiny import ITEMS, LENGTH, pretraining, watched

TASKS = ("liked", "love", "dislike")
HEADS = (TASKS, MultiTaskHeadSettings(expert_width=8, tower_width=4))


def windows_of(log):
    windows = user_windows(log.interactions, log.interactions.offsets[1:], LENGTH)
    return WindowBatches(log, windows).batch(np.arange(9), np.random.default_rng(0))


def requests_of(log):
    rows = all_rows(log.interactions)
    return RequestBatches(log, rows, LENGTH)


def test_labels_of_ranking():
    # actions: padding, dislike, neutral, like, love
    assert ranked_labels(STARS, TASKS).T.tolist() == [
        [False, False, False, True, True],
        [False, False, False, False, True],
        [False, True, False, False, False],
    ]
    with pytest.raises(ParameterError, match="called click"):
        ranked_labels(STARS, ("click",))
    clicks = exclusive_actions(("skip", "click"), ("click",))
    assert ranked_labels(clicks, ("click", "liked")).tolist() == [[False] * 2] * 2 + [[True] * 2]


def step(recommender, batch):
    recommender.train()
    before = {name: value.clone() for name, value in recommender.named_parameters()}
    optimizer = torch.optim.SGD(recommender.parameters(), 1.0)
    recommender(batch)["loss"].backward()
    optimizer.step()
    return {
        name
        for name, value in recommender.named_parameters()
        if not torch.equal(value, before[name])
    }


def test_a_frozen_model_stays_and_a_full_one_is_trained():
    log = watched()
    batch = windows_of(log)
    frozen = pretraining(log, dropout=0.5).model.requires_grad_(False)
    recommender = RankingModel(frozen, *HEADS)
    assert {name.partition(".")[0] for name in step(recommender, batch)} == {"heads"}
    assert not recommender.model.training  # so no dropout either
    full = step(RankingModel(pretraining(log).model, *HEADS), batch)
    assert {"model.table.rows.weight", "model.layers.0.mixer.query.weight"} <= full


def test_ranking_learns_every_task_from_every_target():
    log = watched()
    batch = windows_of(log)
    recommender = RankingModel(pretraining(log).model, *HEADS).eval()
    found = recommender(batch)
    real = batch.targets != 0
    hidden = recommender.model(batch.items, context=batch.context)
    logits = recommender.logits(hidden, recommender.model.item_vectors(batch.targets))[real]
    actions = batch.next_actions[real]
    for place, (task, wanted) in enumerate(
        {"liked": actions >= 3, "love": actions == 4, "dislike": actions == 1}.items()
    ):
        loss = functional.binary_cross_entropy_with_logits(logits[:, place], wanted.float())
        torch.testing.assert_close(found[task], loss)
    torch.testing.assert_close(found["loss"], sum(found[task] for task in TASKS))


def test_retrieval_learns_from_liked_targets_only():
    log = watched()
    batch = windows_of(log)
    model = pretraining(log).model
    found = Retrieval(model, Softmax())(batch)["loss"]
    hidden = model(batch.items, context=batch.context)  # the map is the identity at first
    liked = batch.next_actions >= 3
    logits = (hidden[liked] @ model.item_matrix().T)[:, 1:]
    torch.testing.assert_close(found, functional.cross_entropy(logits, batch.targets[liked] - 1))


def test_ranks_of_retrieval_against_sorting():
    log = watched()
    events = log.interactions
    recommender = Retrieval(pretraining(log).model, Softmax())
    source = requests_of(log)
    found = retrieval_ranks(recommender, source, log.first_seen, batch_size=7)
    batch = source.batch(np.arange(len(source)), np.random.default_rng(0))
    recommender.eval()
    scores = (recommender.vectors(batch) @ recommender.model.item_matrix().T).detach()
    for row in range(0, len(source), 11):
        end, start = source.rows.end[row], events.offsets[source.rows.user[row]]
        target = events.items[end]
        seen = set(events.items[start:end].tolist())
        others = [
            item
            for item in range(1, ITEMS + 1)
            if item not in seen and item != target and log.first_seen[item] <= events.times[end]
        ]
        better = sum(float(scores[row, item]) > float(scores[row, target]) for item in others)
        assert found[row] == 1 + better


def test_ties_count_half_and_items_to_come_not_at_all():
    pairs = ItemPairs(*(np.array([value]) for value in (1, 2, 0, 100)))
    seen = np.array([2**62, 0, 0, 0, 0, 101])
    scores = torch.tensor([[9.0, 9.0, 1.0, 1.0, 0.5, 9.0]])
    assert related_ranks(lambda _: scores.clone(), pairs, seen, 1).tolist() == [1.5]
    matrix = torch.tensor([[0.0, 0], [2, 0], [3, 3], [0, 1]])
    cosines = by_cosine(matrix)(torch.tensor([1]))
    torch.testing.assert_close(cosines, torch.tensor([[0, 1, 0.5**0.5, 0]]))


def test_pairs_ranked_a_few_at_a_time_against_all_at_once():
    """The oracle is NumPy's, on the dense matrix of whole numbers, so that many tie."""
    rng = np.random.default_rng(0)
    items, count = 12, 23
    table = rng.integers(4, size=(items + 1, items + 1)).astype(np.float32)
    first, second = (rng.integers(1, items + 1, size=count) for _ in range(2))
    second = np.where(first == second, second % items + 1, second)
    seen = np.append(2**62, rng.integers(50, size=items))
    times = np.maximum(rng.integers(50, size=count), seen[second])
    pairs = ItemPairs(first, second, np.zeros(count, np.int64), times)
    dense, target = table[first], table[first, second][:, None]
    other = (seen[None] <= times[:, None]) & (np.arange(items + 1) != first[:, None])
    other[np.arange(count), second] = False
    expected = 1 + (other & (dense > target)).sum(1) + (other & (dense == target)).sum(1) / 2
    held = []

    def scores(asked):
        held.append(len(asked))
        return torch.from_numpy(table[asked.numpy()])

    for batch in (1, 5, count, 100):
        assert related_ranks(scores, pairs, seen, batch).tolist() == expected.tolist()
        assert max(held) <= batch
        held.clear()


def test_pairs_are_neighbors_among_the_liked():
    log = watched(users=2, events=5)
    rows = all_rows(log.interactions)
    pairs = liked_pairs(log, rows)
    expected = []
    for user in (0, 1):
        start, stop = log.interactions.offsets[user : user + 2]
        liked = [e for e in range(start + 1, stop) if log.actions[e] >= 3]
        items = log.interactions.items
        expected += [(user, items[a], items[b]) for a, b in pairwise(liked)]
    assert list(zip(pairs.users, pairs.first, pairs.second, strict=True)) == expected


def test_auc_by_user_against_scikit_learn():
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(8), rng.integers(1, 9, size=8))
    scores, labels = rng.integers(4, size=len(users)) / 4, rng.random(len(users)) < 0.4
    found = user_auc(scores, labels, users)
    for user in range(8):
        mine = users == user
        if 0 < labels[mine].mean() < 1:
            assert np.allclose(found[mine], roc_auc_score(labels[mine], scores[mine]))
        else:
            assert np.isnan(found[mine]).all()
