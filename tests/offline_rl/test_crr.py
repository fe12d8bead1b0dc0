"""CRR against hand-worked values, its limits, and plain cross-entropy."""

import copy
import logging
import math
from typing import get_args
from unittest import mock

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from okml.errors import TrainingError
from okml.offline_rl import crr as crr_module
from okml.offline_rl.actor import DistilGPT2Actor
from okml.offline_rl.critic import Critics, LSTMCritic
from okml.offline_rl.crr import AdvantageWeights, CRRTask, filter_weights
from okml.offline_rl.experiments.filters import _weights
from okml.offline_rl.settings import ActorSettings, CriticSettings, CRRSettings
from okml.offline_rl.softmax_pass import policy_pass
from okml.training import TrainingSettings, fit
from tests.offline_rl.tables import TableEncoder, episodes, source, whole_batch

FILTERS = get_args(CRRSettings.model_fields["filter"].annotation)
SEQUENCES = [[1, 2, 3, 4], [2, 3, 1], [4, 4, 2, 1, 3], [1, 3]]
REWARDS = [[0.2, 1.0, 0.2, 1.0], [0.2, 0.2, 1.0], [1.0, 0.2, 0.2, 0.2, 1.0], [0.2, 0.2]]


def task_of(crr, actor=None, critics=None, rate=0.1, **options):
    actor = actor or TableEncoder(4)
    critics = critics or Critics([TableEncoder(4)])
    optimizers = {
        "actor": torch.optim.SGD(actor.parameters(), rate),
        "critic": torch.optim.SGD(critics.parameters(), rate),
    }
    return CRRTask(actor, critics, optimizers, crr, rewards=(0.2, 1.0), **options)


def gradients(task, batch):
    losses = task.losses(batch)
    losses["loss"].backward()
    actor = [p.grad.clone() for p in task.policy.parameters()]
    return losses, actor


def cross_entropy_gradient(actor, batch):
    other = copy.deepcopy(actor)
    hidden = other(batch.items).flatten(0, 1)[batch.kept]
    logits = hidden @ other.item_matrix()[1:].T
    loss = nn.functional.cross_entropy(logits, batch.targets.flatten()[batch.kept] - 1)
    loss.backward()
    return [p.grad for p in other.parameters()]


def randomized(module, seed=0):
    make = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=make)
    return module


@pytest.mark.parametrize("kind", ["exp", "binary"])
def test_equal_q_gives_cross_entropy_or_nothing(kind):
    actor = randomized(TableEncoder(4))
    critics = Critics([TableEncoder(4)])
    # The same for all actions. What is strictly positive must not hang on how 0.7 is rounded.
    critics.each[0].table.data.fill_(0.7 if kind == "exp" else 0.0)
    crr = CRRSettings(filter=kind, beta=0.3)
    batch = whole_batch(episodes(SEQUENCES, REWARDS), 5)
    losses, got = gradients(task_of(crr, actor, critics), batch)
    if kind == "exp":
        assert losses["weight_mean"].item() == pytest.approx(1, abs=1e-5)
        for a, b in zip(got, cross_entropy_gradient(actor, batch), strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
    else:  # no advantage is strictly positive
        assert losses["weight_largest"].item() == 0
        assert all(not gradient.any() for gradient in got)


def test_a_hot_exponential_filter_is_cloning_and_a_cold_one_is_capped():
    advantage = torch.tensor([-3.0, 0.0, 3.0])
    hot = filter_weights(advantage, "exp", beta=1e6)
    torch.testing.assert_close(hot, torch.ones(3), atol=1e-5, rtol=0)
    cold = filter_weights(advantage, "exp", beta=0.01)
    assert cold.tolist() == pytest.approx([0.0, 1.0, 20.0], abs=1e-6)
    by_hand = filter_weights(advantage, "exp", beta=2.0)
    assert by_hand.tolist() == pytest.approx([math.exp(-1.5), 1.0, math.exp(1.5)])
    binary = filter_weights(advantage, "binary", beta=1.0)
    assert binary.tolist() == [0.0, 0.0, 1.0]
    everything = filter_weights(advantage, "all", beta=1.0)
    assert everything.tolist() == [1.0, 1.0, 1.0]


def losses_by(kind, chunk_bytes=2**24):
    actor, critics = randomized(TableEncoder(4)), randomized(Critics([TableEncoder(4)]), 1)
    task = task_of(CRRSettings(filter=kind, beta=0.3), actor, critics, chunk_bytes=chunk_bytes)
    return gradients(task, whole_batch(episodes(SEQUENCES, REWARDS), 5))


@pytest.mark.parametrize("kind", FILTERS)
def test_a_filter_weighs_alike_at_any_size_of_chunks(kind):
    (whole, at_once), (parts, in_parts) = losses_by(kind), losses_by(kind, 1)
    torch.testing.assert_close(whole["weight_largest"], parts["weight_largest"])
    for a, b in zip(at_once, in_parts, strict=True):
        torch.testing.assert_close(a, b)


def test_a_filter_that_weighs_all_actions_alike_is_cloning_and_no_other_one_does():
    alike = {}
    for kind in FILTERS:
        losses, _ = losses_by(kind)
        alike[kind] = losses["weight_largest"] < 1.001 and losses["let_through"] == 1
    assert [kind for kind, same in alike.items() if same] == ["all"]


def weights_by(baseline, samples, seed=0, rows=6):
    torch.manual_seed(seed)
    hidden, items = torch.randn(rows, 3), torch.randn(9, 3)
    vectors, actions = torch.randn(rows, 2, 4), torch.randn(9, 2, 4)
    targets = torch.randint(1, 9, (rows,))
    values = (vectors * actions[targets]).sum(-1)
    crr = CRRSettings(beta=1.0, baseline=baseline)
    weigh = AdvantageWeights(crr, 1.0, values, vectors, actions)
    with mock.patch.object(crr_module, "SAMPLES", samples):
        policy_pass(hidden, items, targets, table=actions.flatten(1), weigh=weigh)
    policy = (hidden @ items[1:].T).softmax(1)
    q = torch.einsum("rck,vck->rcv", vectors, actions[1:])  # [r, critics, V]
    return weigh.advantage, policy, q, values


def test_the_expectation_is_the_dense_one():
    advantage, policy, q, values = weights_by("expectation", 1)
    expected = (values - (policy[:, None] * q).sum(-1)).mean(1)
    torch.testing.assert_close(advantage, expected, rtol=1e-4, atol=1e-5)


def test_the_mean_of_many_samples_nears_the_expectation_and_the_maximum_is_above_it():
    exact, policy, q, _ = weights_by("expectation", 1)
    mean, *_ = weights_by("mean", 20_000)
    spread = (policy[:, None] * q**2).sum(-1) - (policy[:, None] * q).sum(-1) ** 2
    error = 5 * (spread.mean(1) / 20_000).sqrt()
    assert ((mean - exact).abs() < error).all()
    few_mean, *_ = weights_by("mean", 4, seed=3)
    few_max, *_ = weights_by("max", 4, seed=3)  # the same draws
    assert (few_max <= few_mean + 1e-6).all()
    largest, policy, q, values = weights_by("max", 20_000)
    torch.testing.assert_close(largest, (values - q.amax(-1)).mean(1), rtol=1e-4, atol=1e-4)


def test_temporal_difference_targets_by_hand():
    # One session 1 → 2 → 3; V(2) by the copy with a uniform policy over 4 items.
    batch = whole_batch(episodes([[1, 2, 3], [4, 1]], [[0.0, 0.5, 1.0], [0.0, 0.2]]), 2)
    critics = Critics([TableEncoder(4)])
    critics.each[0].table.data = torch.arange(25.0).view(5, 5)
    task = task_of(CRRSettings(gamma=0.5), critics=critics)
    losses = task.losses(batch)
    table = critics.each[0].table.data
    # Q(s, a) = table[a, s]; the value of state 2 is the mean over actions 1 to 4.
    value_of_2 = table[1:, 2].mean().item()
    goals = [0.5 + 0.5 * value_of_2, 1.0, 0.2]
    predicted = [table[2, 1].item(), table[3, 2].item(), table[1, 4].item()]
    by_hand = np.mean([(p - g) ** 2 for p, g in zip(predicted, goals, strict=True)]) / 2
    assert losses["temporal_difference"].item() == pytest.approx(by_hand, rel=1e-6)


def test_where_a_window_is_cut_there_is_no_temporal_difference():
    made = episodes([[1, 2, 3, 4, 1]], [[0.2] * 5])
    batch = whole_batch(made, 2)  # two windows of two transitions, one episode
    rows = {tuple(row) for row in batch.items.tolist()}
    assert rows == {(1, 2), (3, 4)}
    order = batch.items[:, 0].tolist()
    known = (batch.ends | batch.has_next).tolist()
    assert known[order.index(1)] == [True, False]  # the state after 3 is in the other window
    assert known[order.index(3)] == [True, True]  # the episode ends
    assert batch.ends[order.index(3)].tolist() == [False, True]


@pytest.mark.parametrize("next_action", ["target", "online", "logged"])
def test_next_values_of_the_three_kinds(next_action):
    batch = whole_batch(episodes([[1, 2, 3]], [[0.0, 0.0, 0.0]]), 2)
    critics = Critics([randomized(TableEncoder(4), 1)])
    actor = randomized(TableEncoder(4), 2)
    task = task_of(
        CRRSettings(gamma=1 - 1e-9, next_action=next_action), actor=actor, critics=critics
    )
    if task.actor_copy is not None:
        randomized(task.actor_copy, 3)
    table = critics.each[0].table.data
    target = task.actor_copy and task.actor_copy.encoder
    policy = {"online": actor, "target": target}.get(next_action)
    if policy is None:
        value = table[3, 2]
    else:
        value = (policy.table.data[1:, 2].softmax(0) * table[1:, 2]).sum()
    errors = (table[2, 1] - value) ** 2, (table[3, 2] - 0.0) ** 2
    expected = sum(errors) / 4
    assert task.losses(batch)["temporal_difference"].item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_of_two_critics_the_smaller_next_value_counts():
    batch = whole_batch(episodes([[1, 2, 3]], [[0.0, 0.0, 0.0]]), 2)
    critics = Critics([randomized(TableEncoder(4), seed) for seed in (1, 2)])
    task = task_of(CRRSettings(gamma=0.5), critics=critics)
    tables = [critic.table.data for critic in critics.each]
    smallest = min(table[1:, 2].mean() for table in tables)
    errors = [(t[2, 1] - 0.5 * smallest) ** 2 + t[3, 2] ** 2 for t in tables]
    expected = sum(errors) / 2 / 2 / 2
    assert task.losses(batch)["temporal_difference"].item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_no_gradient_crosses_between_actor_and_critic():
    batch = whole_batch(episodes(SEQUENCES, REWARDS), 5)
    crr = CRRSettings(beta=0.5)
    actor, critics = randomized(TableEncoder(4), 1), Critics([randomized(TableEncoder(4), 2)])
    task = task_of(crr, actor, critics)
    losses = task.losses(batch)
    (only_actor,) = torch.autograd.grad(losses["actor"], critics.each[0].table, allow_unused=True,
                                        retain_graph=True)  # fmt: skip
    (only_critic,) = torch.autograd.grad(
        losses["temporal_difference"], actor.table, allow_unused=True
    )
    assert only_actor is None
    assert only_critic is None


def test_conservative_term_is_logsumexp_less_the_logged_value():
    batch = whole_batch(episodes(SEQUENCES, REWARDS), 5)
    critics = Critics([randomized(TableEncoder(4), 2)])
    losses = {
        weight: task_of(CRRSettings(conservative=weight), critics=critics).losses(batch)
        for weight in (0.0, 2.0)
    }
    q = critics.each[0].table.data[1:, batch.items.flatten()[batch.kept]].T  # [r, V]
    logged = q.gather(1, batch.targets.flatten()[batch.kept][:, None] - 1)[:, 0]
    term = (q.logsumexp(1) - logged).mean()
    difference = losses[2.0]["temporal_difference"] - losses[0.0]["temporal_difference"]
    assert difference.item() == pytest.approx(2 * term.item(), rel=1e-5)


def test_targets_are_copied_on_schedule():
    task = task_of(CRRSettings(target_every=3, next_action="target"))
    pairs = [
        (task.critics.each[0].table, task.critic_copy.each[0].table),
        (task.policy.encoder.table, task.actor_copy.encoder.table),
    ]
    for source_, _ in pairs:
        source_.data.fill_(4.0)
    for step in (1, 2, 3):
        task._seen = [torch.tensor([0.3, 1.0, 0.0], dtype=torch.float64)]  # as WATCHED names them
        task.after_step(step)
        for _, target in pairs:
            assert (target == (4.0 if step == 3 else 0.0)).all()


def test_the_actor_stands_still_while_the_critic_warms_up():
    made = episodes(SEQUENCES, REWARDS)
    actor = randomized(TableEncoder(4))
    task = task_of(CRRSettings(), actor, critics_only=True)
    before, critic_before = actor.table.detach().clone(), task.critics.each[0].table.clone()
    settings = TrainingSettings(batch_size=2, max_steps=3, device="cpu")
    fit(task, source(made, 5), settings)
    assert torch.equal(actor.table, before)
    assert not torch.equal(task.critics.each[0].table, critic_before)
    assert not [p for p in actor.parameters() if not p.requires_grad]


def test_automatic_temperature_is_the_spread_of_advantages():
    crr = CRRSettings(beta="auto", beta_scale=2.0)
    task = task_of(crr)
    assert task.beta == 1.0
    task._seen = [torch.tensor([0.3, 1.0, 0.0], dtype=torch.float64)]  # as WATCHED names them
    task.after_step(1)
    assert task.beta == pytest.approx(0.6)
    state = task.state()
    other = task_of(crr)
    other.load_state(state)
    assert other.beta == pytest.approx(0.6)


def test_the_critic_overfits_a_known_return():
    # A ring 1 → 2 → 3 → 1 …, five actions with rewards; γ-discounted sums are known exactly.
    sequences = [[1, 2, 3, 1, 2, 3]]
    rewards = [[0.0, 0.3, 1.0, 0.2, 0.5, 1.0]]
    made = episodes(sequences, rewards, gamma=0.8)
    torch.manual_seed(0)
    critics = Critics([LSTMCritic(3, CriticSettings(width=16, hidden=16))])
    actor = DistilGPT2Actor(3, 5, ActorSettings(width=8, layers=1, heads=1, dropout=0.0))
    optimizers = {
        "actor": torch.optim.SGD(actor.parameters(), 0.0),
        "critic": torch.optim.Adam(critics.parameters(), 1e-2),
    }
    crr = CRRSettings(gamma=0.8, next_action="logged", target_every=1)
    task = CRRTask(actor, critics, optimizers, crr, rewards=(0.0, 1.0), critics_only=True)
    for rate in (1e-2, 2e-3):  # at the first alone, values of some seeds still swing by a tenth
        optimizers["critic"].param_groups[0]["lr"] = rate
        fit(task, source(made, 5), TrainingSettings(batch_size=1, max_steps=300, device="cpu"))
    batch = whole_batch(made, 5)
    with torch.no_grad():
        values, _ = critics(batch.items, batch.targets)
    by_hand = [0.3 + 0.8 * (1.0 + 0.8 * (0.2 + 0.8 * (0.5 + 0.8 * 1.0)))]
    # Over ten seeds no value was off by more than 0.001.
    assert values[0, 0, 0].item() == pytest.approx(by_hand[0], abs=0.01)
    torch.testing.assert_close(values[0, :, 0], batch.returns[0], atol=0.01, rtol=0)


def test_an_empty_filter_is_logged_and_stays_finite(caplog):
    made = episodes(SEQUENCES, REWARDS)
    crr = CRRSettings(filter="binary", baseline="max")
    critics = Critics([randomized(TableEncoder(4))])
    task = task_of(crr, critics=critics, rate=0.0)
    # The best action is always among 64 draws of a uniform policy, so nothing is strictly better.
    with caplog.at_level(logging.WARNING), mock.patch.object(crr_module, "SAMPLES", 64):
        fit(task, source(made, 5), TrainingSettings(batch_size=4, max_steps=60, device="cpu"))
    assert [r for r in caplog.records if "almost no logged action" in r.message]
    assert torch.isfinite(task.policy.encoder.item_matrix()).all()


def test_a_critic_beyond_what_rewards_allow_is_logged(caplog):
    made = episodes(SEQUENCES, REWARDS)
    critics = Critics([TableEncoder(4)])
    critics.each[0].table.data.fill_(100.0)
    task = task_of(CRRSettings(), critics=critics, rate=0.0)
    with caplog.at_level(logging.WARNING):
        fit(task, source(made, 5), TrainingSettings(batch_size=4, max_steps=60, device="cpu"))
    assert len([r for r in caplog.records if "diverge" in r.message]) == 1


def test_a_diverged_critic_stops_the_run():
    made = episodes(SEQUENCES, REWARDS)
    task = task_of(CRRSettings())
    task.critics.each[0].table.data[2, 1] = float("nan")
    with pytest.raises(TrainingError, match="diverged"):
        fit(task, source(made, 5), TrainingSettings(batch_size=4, max_steps=5, device="cpu"))


def task_with_dealt_weights(crr):
    """Return a task of CRR with a second actor, and the same task without it."""
    found = []
    for second in (randomized(TableEncoder(4), 2), None):
        actor, critics = randomized(TableEncoder(4)), Critics([randomized(TableEncoder(4), 1)])
        modules = {"actor": actor, "critic": critics, "dealt": second}
        optimizers = {
            name: torch.optim.SGD(module.parameters(), 0.1)
            for name, module in modules.items()
            if module is not None
        }
        found.append(CRRTask(actor, critics, optimizers, crr, rewards=(0.2, 1.0), dealt=second))
    return found


def test_a_second_actor_learns_from_the_same_weights_at_other_actions():
    """The order is turned round here, so that the loss is a weighted cross-entropy by hand."""
    with_second, alone = task_with_dealt_weights(CRRSettings(beta=0.3))
    batch = whole_batch(episodes(SEQUENCES, REWARDS), 5)
    own, second = with_second.phases(1)
    own.loss(batch)
    (weights,) = with_second._weights
    targets = batch.targets.flatten()[batch.kept]
    hidden = alone.policy(batch).log_prob  # of the first actor, to see that it is another one
    table = with_second.modules["dealt"].encoder.table
    logs = table[1:, batch.items.flatten()[batch.kept]].log_softmax(0)  # [V, r]
    likelihood = logs[targets - 1, torch.arange(len(targets))]
    assert not torch.allclose(likelihood, hidden)
    expected = -(weights.flip(0) * likelihood).mean()
    turned = torch.arange(len(weights) - 1, -1, -1)
    with mock.patch.object(crr_module.torch, "randperm", return_value=turned):
        found = second.loss(batch)
    torch.testing.assert_close(found["loss"], expected)
    (by_hand,) = torch.autograd.grad(expected, table)
    (slope,) = torch.autograd.grad(found["loss"], table)
    torch.testing.assert_close(slope, by_hand)
    assert with_second._weights == []


def test_crr_beside_a_second_actor_is_what_it_is_alone():
    batch = whole_batch(episodes(SEQUENCES, REWARDS), 5)
    found = []
    for task in task_with_dealt_weights(CRRSettings(filter="binary")):
        losses, slopes = gradients(task, batch)
        found.append((losses, slopes, [p.grad for p in task.critics.parameters()]))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("kind", ["exp", "binary"])
def test_dealt_weights_let_as_many_actions_through_as_those_of_crr(kind, tmp_path):
    """In every step of a training in which both actors move apart."""
    task, _ = task_with_dealt_weights(CRRSettings(filter=kind, beta=0.3))
    settings = TrainingSettings(batch_size=2, max_steps=12, device="cpu", log_every=1)
    history = fit(task, source(episodes(SEQUENCES, REWARDS), 5), settings, tmp_path)
    frame = history.frame
    assert frame["crr/let_through"].n_unique() > 1 or kind == "exp"
    for name in ("let_through", "weight_mean", "weight_largest", "effective_share"):
        np.testing.assert_allclose(frame[f"dealt/{name}"], frame[f"crr/{name}"], rtol=1e-5)
    tables = [task.modules[name].encoder.table for name in ("actor", "dealt")]
    assert not torch.equal(*tables)


def test_weights_at_random_are_described_as_they_were_dealt():
    frame = pl.DataFrame({"step": [1, 4], "crr/weight_wanted": [0.5, 0.9], "crr/value_mean": 2.0})
    dealt = frame.with_columns(pl.Series("dealt/weight_wanted", [0.5, 0.7]))
    assert _weights(frame)["weight_wanted"] == 0.9
    assert _weights(dealt)["weight_wanted"] == 0.7
    assert _weights(dealt)["value_mean"] == 2.0
    assert _weights(dealt)["let_through"] is None
