"""Batches, losses and the pre-training of the user model."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torch.nn import functional

from okml.errors import ParameterError
from okml.seqrec.losses import (
    BinarySettings,
    InBatchSoftmaxSettings,
    SampledSoftmaxSettings,
    SoftmaxSettings,
    build_sampler,
)
from okml.seqrec.negatives import NegativeSampler
from okml.seqrec.popularity import item_counts
from okml.seqrec.rows import Rows
from okml.training import load_weights
from okml.video_workshop.common.losses import catalog_loss
from okml.video_workshop.items.maker import TableMaker
from okml.video_workshop.settings.items import ItemsSettings
from okml.video_workshop.settings.users import LossWeights, UserTable
from okml.video_workshop.users.batches import RequestBatches, WindowBatches, user_windows
from okml.video_workshop.users.downstream import Retrieval
from tests.processes import launch
from tests.video_workshop.users_tiny import (
    GENRES,
    ITEMS,
    LENGTH,
    USERS,
    pretraining,
    train,
    watched,
)
from tests.waits import Waits

RNG = np.random.default_rng(0)


def full_windows(log):
    return user_windows(log.interactions, log.interactions.offsets[1:], LENGTH)


def test_a_window_carries_the_request_that_follows_each_event():
    log = watched()
    source = WindowBatches(log, full_windows(log))
    batch = source.batch(np.arange(len(source)), RNG)
    events, times = log.interactions, log.interactions.times
    start, stop = source.windows.bounds(events, np.arange(len(source)))
    ends = [0, 60, 600, 3_600, 86_400, 7 * 86_400]
    for row in range(len(source)):
        for column in range(LENGTH):
            event = start[row] + column
            if event >= stop[row] - 1:  # padding
                assert not batch.items[row, column]
                assert not batch.next_actions[row, column]
                continue
            gap = times[event + 1] - times[event]
            assert batch.items[row, column] == events.items[event]
            assert batch.context.actions[row, column] == log.actions[event]
            assert batch.context.gaps[row, column] == sum(gap > end for end in ends)
            assert batch.context.hours[row, column] == times[event + 1] // 3_600 % 24
            assert batch.targets[row, column] == events.items[event + 1]
            assert batch.next_actions[row, column] == log.actions[event + 1]


def test_the_target_is_not_in_its_own_token():
    """P19: other items and actions at the targets leave every context and every score as it is."""
    log = watched()
    rows = Rows(np.arange(USERS, dtype=np.int32), log.interactions.offsets[1:] - 3)
    events = log.interactions
    items, actions = events.items.copy(), log.actions.copy()
    items[rows.end], actions[rows.end] = items[rows.end] % ITEMS + 1, actions[rows.end] % 4 + 1
    other = replace(log, interactions=replace(events, items=items), actions=actions)
    model = pretraining(log).model.eval()
    hidden = []
    for data in (log, other):
        batch = RequestBatches(data, rows, LENGTH).batch(np.arange(USERS), RNG)
        hidden.append(model.last(batch.items, context=batch.context))
        assert (batch.asked.numpy() == events.times[rows.end]).all()
    assert torch.equal(*hidden)


def test_a_request_is_encoded_as_in_training():
    log = watched()
    model = pretraining(log).model.eval()
    windows = full_windows(log)
    start, stop = windows.bounds(log.interactions, np.arange(len(windows)))
    newest = np.flatnonzero((stop == windows.limit) & (stop - 1 - start == LENGTH))
    batch = WindowBatches(log, windows).batch(newest, RNG)
    rows = Rows(windows.user[newest], windows.stop[newest] - 1)
    asked = RequestBatches(log, rows, LENGTH).batch(np.arange(len(newest)), RNG)
    assert len(newest) == USERS
    torch.testing.assert_close(
        model(batch.items, context=batch.context)[:, -1],
        model.last(asked.items, context=asked.context),
    )


def test_sliding_windows_overlap_by_half_and_cover_every_target():
    log = watched()
    windows = full_windows(log)
    start, stop = windows.bounds(log.interactions, np.arange(len(windows)))
    assert (stop - start - 1 <= LENGTH).all()
    assert (stop - start >= 2).all()
    mine = windows.user == 3
    first = log.interactions.offsets[3]
    # 9 events, 8 targets, length 4, stride 2: targets 5-8, 3-6, 1-4, newest first
    assert (start[mine] - first).tolist() == [4, 2, 0]
    assert (stop[mine] - first).tolist() == [9, 7, 5]
    covered = np.zeros(len(log.interactions), dtype=int)
    for low, high in zip(start, stop, strict=True):
        covered[low + 1 : high] += 1
    assert (np.delete(covered, log.interactions.offsets[:-1]) > 0).all()
    with pytest.raises(ParameterError, match="two events"):
        user_windows(log.interactions, log.interactions.offsets[:-1] + 1, LENGTH)


def test_the_softmax_is_over_existing_items():
    exists = np.ones(ITEMS + 1, dtype=bool)
    exists[[3, 7]] = False
    counts = exists.astype(np.int64) * 5
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(6, 8, generator=generator)
    matrix = torch.randn(ITEMS + 1, 8, generator=generator, requires_grad=True)
    targets = torch.tensor([1, 2, 4, 0, 12, 6])
    loss = catalog_loss(SoftmaxSettings(), counts, exists)(hidden, matrix, targets)
    logits = hidden @ matrix.T
    logits[:, [0, 3, 7]] = -torch.inf
    torch.testing.assert_close(loss, functional.cross_entropy(logits, targets, ignore_index=0))
    loss.backward()
    assert not matrix.grad[[0, 3, 7]].any()


def test_sampled_negatives_exist():
    exists = np.ones(ITEMS + 1, dtype=bool)
    exists[5] = False
    counts = exists.astype(np.int64) * 3
    settings = SampledSoftmaxSettings(negatives=4_000, alpha=0.5)
    drawn = NegativeSampler(counts, settings.negatives, alpha=settings.alpha, shared=True)
    targets = torch.tensor([1, 2, 4])
    negatives = drawn.for_targets(targets, targets, RNG)
    assert not (negatives == 5).any()
    generator = torch.Generator().manual_seed(0)
    hidden, matrix = (torch.randn(n, 8, generator=generator) for n in (3, ITEMS + 1))
    sampled = catalog_loss(settings, counts, exists)(hidden, matrix, targets, negatives)
    full = catalog_loss(SoftmaxSettings(), counts, exists)(hidden, matrix, targets)
    torch.testing.assert_close(sampled, full, atol=0.05, rtol=0)
    for wrong in (BinarySettings(), SampledSoftmaxSettings(alpha=0)):
        with pytest.raises(ParameterError):
            catalog_loss(wrong, counts, exists)
    with pytest.raises(ParameterError, match="not to exist"):
        catalog_loss(InBatchSoftmaxSettings(), counts + 1, exists)


def test_losses_of_pretraining_against_plain_formulas():
    log = watched()
    objective = pretraining(log).eval()
    batch = WindowBatches(log, full_windows(log)).batch(np.arange(7), RNG)
    found = objective(batch)
    hidden = objective.model(batch.items, context=batch.context)
    matrix = objective.model.item_matrix()

    def item_loss(vectors, targets):
        logits = (vectors @ matrix.T)[..., 1:].flatten(0, 1)
        return functional.cross_entropy(logits, targets.flatten() - 1, ignore_index=-1)

    item = item_loss(hidden, batch.targets)
    two, three = objective.further["2"](hidden[:, :-1]), objective.further["3"](hidden[:, :-2])
    multi = (2 * item_loss(two, batch.targets[:, 1:]) + item_loss(three, batch.targets[:, 2:])) / 3
    logits = objective.action_head(hidden, matrix[batch.targets]).flatten(0, 1)
    action = functional.cross_entropy(logits, batch.next_actions.flatten() - 1, ignore_index=-1)
    real = batch.targets != 0
    genre = functional.binary_cross_entropy_with_logits(
        objective.genre_head(hidden)[real], objective.genres[batch.targets[real]]
    )
    wanted = {"item": item, "multi": multi, "action": action, "genre": genre}
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value)
    total = item + 0.2 * action + 0.3 * multi + 0.1 * genre
    torch.testing.assert_close(found["loss"], total)


def test_what_has_no_weight_is_not_trained():
    log = watched()
    objective = pretraining(log, weights=LossWeights(action=0.2, multi=0, genre=0))
    batch = WindowBatches(log, full_windows(log)).batch(np.arange(7), RNG)
    losses = objective(batch)
    assert set(losses) == {"loss", "item", "action"}
    losses["loss"].backward()
    for name, parameter in objective.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_losses_of_intents_against_plain_formulas():
    log = watched()
    objective = pretraining(log, intents=True)
    batch = WindowBatches(log, full_windows(log)).batch(np.arange(8), RNG)
    losses = objective(batch)
    found = objective.model.states(batch.items, batch.context).intents
    real = batch.targets != 0
    acted = functional.cross_entropy(found.action[real], batch.next_actions[real] - 1)
    assert losses["intent action"].item() == pytest.approx(acted.item(), rel=1e-5)
    genres = torch.stack([batch.targets % GENRES == g for g in range(GENRES)], -1).float()
    of_genres = functional.binary_cross_entropy_with_logits(found.genre[real], genres[real])
    assert losses["intent genre"].item() == pytest.approx(of_genres.item(), rel=1e-5)
    parts = {"item": 1, "action": 0.2, "multi": 0.3, "genre": 0.1, "intent action": 0.2,
             "intent genre": 0.1}  # fmt: skip
    total = sum(weight * losses[name].item() for name, weight in parts.items())
    assert losses["loss"].item() == pytest.approx(total, rel=1e-5)
    losses["item"].backward()  # the next item's loss trains what is fed forward
    assert objective.model.intents.action.weight.grad.abs().sum() > 0


def test_free_intents_are_asked_for_nothing():
    log = watched()
    weights = LossWeights(intents=0)
    objective = pretraining(log, weights=weights, intents=True)
    losses = objective(WindowBatches(log, full_windows(log)).batch(np.arange(8), RNG))
    assert "intent action" not in losses
    losses["loss"].backward()
    heads = objective.model.intents
    assert all(part.grad.abs().sum() > 0 for part in (heads.action.weight, heads.genre.weight))


def test_training_learns_the_ring(tmp_path):
    history = train(tmp_path, max_steps=150)
    items = history.frame["train/item"].drop_nulls()
    assert items[-1] < 0.5 * items[0]  # the next item on the ring is certain


def assert_same(folder, expected, tolerance=0.0):
    found, wanted = load_weights(folder)["model"], load_weights(expected)["model"]
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        # An attention's key bias has a gradient of zero up to rounding, which Adam scales up.
        if not name.endswith("mixer.key.bias") or not tolerance:
            torch.testing.assert_close(found[name], value, atol=tolerance, rtol=0)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    train(tmp_path / "whole", 0.2)
    train(tmp_path / "parts", 0.2, max_steps=4)
    train(tmp_path / "parts", 0.2)
    assert_same(tmp_path / "parts", tmp_path / "whole")


def test_two_processes_give_the_result_of_one(tmp_path):
    train(tmp_path / "alone", gradient_accumulation=2)
    done = launch("tests.video_workshop.users_tiny", str(tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "two", tmp_path / "alone", tolerance=1e-5)


SAMPLED = SampledSoftmaxSettings(negatives=5, alpha=0.5)


def on_table(table):
    """Return an objective on an item representation, and batches with sampled negatives."""
    log = watched()
    log = replace(log, actions=np.random.default_rng(0).integers(1, 5, len(log.actions)))
    counts = item_counts(log.interactions)
    features = np.random.default_rng(0).standard_normal((ITEMS + 1, 6)).astype(np.float32)
    sizes = ItemsSettings(levels=2, codes=4, components=4, prefix_codes=3, hidden=8)
    maker = TableMaker(lambda seed: {"text": features}, counts, sizes)
    weights = LossWeights(multi=0.3)
    made = maker.make(table, 0, width=8)
    objective = pretraining(log, weights=weights, table=made, loss=SAMPLED)
    sampler = build_sampler(SAMPLED, counts)
    return objective, WindowBatches(log, full_windows(log), negatives=sampler)


@pytest.mark.parametrize("table", get_args(UserTable))
def test_a_training_step_waits_for_no_device(table):
    objective, source = on_table(table)
    retrieval = Retrieval(objective.model, objective.item_loss)
    with Waits() as waits:
        batch = source.batch(np.arange(len(source)), RNG)
        for module in (objective, retrieval):
            module(batch)["loss"].backward()
    assert waits.seen == []


def test_targets_are_counted_as_they_are():
    objective, source = on_table("id")
    batch = source.batch(np.arange(len(source)), RNG)
    liked = torch.from_numpy(objective.model.kinds.liked)
    real = batch.targets != 0
    follows = liked[batch.next_actions] & real
    assert batch.count == int(real.sum())
    assert batch.further == (int(real[:, 1:].sum()), int(real[:, 2:].sum()))
    assert batch.liked == int(follows.sum())
    assert len({batch.count, *batch.further, batch.liked}) == 4


@pytest.mark.parametrize("table", get_args(UserTable))
def test_looking_up_candidates_trains_as_the_whole_matrix_does(table):
    objective, source = on_table(table)
    objective.eval()
    batch = source.batch(np.arange(6), RNG)

    def gradients(loss):
        objective.zero_grad()
        loss.backward()
        named = objective.model.named_parameters()
        return {name: weight.grad for name, weight in named if weight.grad is not None}

    found = objective(batch)["item"]
    of_candidates = gradients(found)
    hidden = objective.model(batch.items, context=batch.context)
    matrix = objective.model.item_matrix()
    expected = objective.item_loss(hidden, matrix, batch.targets, batch.negatives)
    of_matrix = gradients(expected)
    torch.testing.assert_close(found, expected)
    assert of_candidates.keys() == of_matrix.keys()
    for name, gradient in of_matrix.items():
        torch.testing.assert_close(of_candidates[name], gradient, atol=1e-6, rtol=1e-4, msg=name)
