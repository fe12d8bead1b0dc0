"""Policies: closed forms of bandits, stop-gradients, critics, and the two-stage optimum."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from okml.video_workshop.goals.corrections import (
    action_weights,
    actor_weights,
    stage2_optimum,
    stage2_weights,
)
from okml.video_workshop.goals.critics import Critic, Critics, CriticTask, advantages, targets
from okml.video_workshop.goals.impressions import ImpressionBatches
from okml.video_workshop.goals.policies import (
    ChaosFreeCell,
    SoftmaxPolicy,
    drawn_from,
    evaluate,
)
from okml.video_workshop.goals.simulator import Situation, logging_policy, roll_out
from okml.video_workshop.goals.world import WATCH_NOISE
from tests.video_workshop.goals_tiny import ITEMS, SETTINGS, USERS, watched, world

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def log():
    tiny, rng = world(), np.random.default_rng(0)
    return roll_out(tiny, logging_policy(tiny, SETTINGS), SETTINGS, rng, 2, keep_states=True)


def new_policy():
    torch.manual_seed(0)
    content = torch.from_numpy(np.vstack([np.zeros(8), watched()[1]]).astype(np.float32))
    return SoftmaxPolicy(USERS, content, 4)


def ascent(rewards, behavior, correction, k, steps=2000):
    """The policy over ten actions after gradient ascent on a bandit, with steps of size one."""
    logits = torch.zeros(10, dtype=torch.float64, requires_grad=True)
    for _ in range(steps):
        log_prob = logits.log_softmax(0)
        weights = action_weights(log_prob, behavior.log(), rewards / 10, correction, k, np.inf)
        (gradient,) = torch.autograd.grad((behavior * weights * log_prob).sum(), logits)
        with torch.no_grad():
            logits += gradient
    return logits.detach().softmax(0).numpy()


RISING = torch.arange(1, 11, dtype=torch.float64)
FALLING = RISING.flip(0) / RISING.sum()
TWO_GOOD = torch.tensor([10.0, 9.0] + [1.0] * 8, dtype=torch.float64)
UNIFORM = torch.full((10,), 0.1, dtype=torch.float64)


def test_the_bandits_of_the_paper_end_at_their_closed_forms():
    """Chen et al. (2019): uncorrected r β; corrected the best; for lists of two the best two."""
    mixed = (RISING * FALLING / (RISING * FALLING).sum()).numpy()
    assert ascent(RISING, FALLING, "none", 1) == pytest.approx(mixed, abs=0.01)
    assert mixed == pytest.approx(
        [0.0455, 0.0818, 0.1091, 0.1273, 0.1364, 0.1364, 0.1273, 0.1091, 0.0818, 0.0455], abs=1e-4
    )
    assert float(RISING.numpy() @ mixed) == pytest.approx(5.5)
    assert ascent(RISING, FALLING, "importance", 1) == pytest.approx(np.eye(10)[9], abs=0.01)
    assert ascent(TWO_GOOD, UNIFORM, "importance", 1) == pytest.approx(np.eye(10)[0], abs=0.01)
    split = ascent(TWO_GOOD, UNIFORM, "importance", 2)
    assert split == pytest.approx([10 / 19, 9 / 19] + [0] * 8, abs=0.01)
    # The expected reward of a list of two, Σ r (1 - (1 - π)²), is largest there.
    best, step = np.array([10 / 19, 9 / 19] + [0] * 8), np.array([1e-4, -1e-4] + [0] * 8)
    worth = [float((TWO_GOOD.numpy() * (1 - (1 - policy) ** 2)).sum())
             for policy in (best, best + step, best - step)]  # fmt: skip
    assert worth[0] > max(worth[1:])
    three = ascent(TWO_GOOD, UNIFORM, "importance", 3)
    assert three[:2] == pytest.approx([0.5131, 0.4868], abs=0.01)


def test_weights_by_hand_and_without_a_gradient():
    log_prob = torch.tensor([0.6, 0.5]).log().requires_grad_()
    log_behavior, returns = torch.tensor([0.1, 0.5]).log(), torch.tensor([2.0, 3.0])
    found = {name: action_weights(log_prob, log_behavior, returns, name, 2, 4.0)
             for name in ("none", "importance", "capped")}  # fmt: skip
    factor = [2 * 0.4, 2 * 0.5]
    assert found["none"].tolist() == pytest.approx([2 * factor[0], 3 * factor[1]])
    assert found["importance"].tolist() == pytest.approx([6 * 2 * factor[0], 3 * factor[1]])
    assert found["capped"].tolist() == pytest.approx([4 * 2 * factor[0], 3 * factor[1]])
    assert not any(weights.requires_grad for weights in found.values())


def test_the_behavior_head_moves_nothing_but_itself(log):
    policy = new_policy()
    batch = ImpressionBatches(log, CPU).batch(np.arange(20), np.random.default_rng(0))
    policy.of_shown(batch)[1].sum().backward()
    moved = {name for name, part in policy.named_parameters() if part.grad is not None}
    assert moved == {"behavior.weight", "behavior_bias.weight"}


def test_the_recurrent_cell_by_hand_and_past_gaps():
    cell = ChaosFreeCell(1)
    with torch.no_grad():
        cell.gates_of_state.weight.copy_(torch.tensor([[0.5], [-0.3]]))
        cell.gates_of_state.bias.copy_(torch.tensor([0.1, 0.2]))
        cell.of_input.weight.copy_(torch.tensor([[0.7], [0.4], [0.9]]))
    state, moved = 0.8, 0.6
    keep = 1 / (1 + np.exp(-(0.4 * moved + 0.5 * state + 0.1)))
    take = 1 / (1 + np.exp(-(0.9 * moved - 0.3 * state + 0.2)))
    expected = keep * np.tanh(state) + take * np.tanh(0.7 * moved)
    inputs = torch.tensor([[[5.0], [moved], [5.0]]])
    there = torch.tensor([[False, True, False]])
    assert cell(torch.tensor([[state]]), inputs, there).item() == pytest.approx(expected, rel=1e-5)


def test_a_drawn_slate_follows_the_softmax(log):
    policy, rng = new_policy().eval(), np.random.default_rng(0)
    one = Situation(np.zeros(3000, dtype=np.int64), np.tile(np.arange(6), (3000, 1)),
                    np.full((3000, 2), -1), np.zeros((3000, 4)))  # fmt: skip
    with torch.no_grad():
        policy.bias.weight[1:7, 0] = torch.tensor([0.0, 1.0, 2.0, 0.0, -1.0, 0.5])
        policy.user.weight[0] = torch.tensor([0.5, -1.0, 0.3, 0.8])
        vectors = policy.item.weight[1:7] + policy.content[1:7] @ policy.about.weight.T
        # Nothing was clicked, so the state is the user.
        logits = vectors @ policy.user.weight[0] + policy.bias.weight[1:7, 0]
        chance = logits.double().softmax(0).numpy()
    slates = drawn_from(policy, 2)(one, rng)
    assert slates.propensity == pytest.approx(chance[slates.places], rel=1e-4)
    first, second = (np.bincount(of, minlength=6) / 3000 for of in slates.places.T)
    assert first == pytest.approx(chance, abs=0.03)
    # The next one is drawn among the others (Plackett and Luce).
    others = np.outer(chance / (1 - chance), chance) * (1 - np.eye(6))
    assert second == pytest.approx(others.sum(0), abs=0.03)
    assert (slates.places[:, 0] != slates.places[:, 1]).all()


def test_the_policy_of_the_log_needs_no_weights(log):
    judged = evaluate(new_policy().eval(), log)
    assert judged.chance.sum(1) == pytest.approx(1)
    # An estimate whose ratios have mean one is unbiased for every response.
    error = judged.ratio.std() / len(judged.ratio) ** 0.5
    assert abs(judged.ratio.mean() - 1) < 4 * error


def test_the_truth_about_a_policy_against_draws(log):
    tiny, rng = world(), np.random.default_rng(0)
    policy = new_policy().eval()
    with torch.no_grad():
        policy.bias.weight[1:, 0] = torch.linspace(-2, 2, ITEMS)
    judged = evaluate(policy, log)
    rows, draws, repeats = np.arange(len(log)), 3, 60
    clicks = tiny.click(log.users, judged.situation.candidates, judged.situation.satiation)
    mean = tiny.watch[log.users[:, None], judged.situation.candidates]
    ends = judged.chance.cumsum(1)
    first, lists = [], []
    for _ in range(repeats):
        watched = np.where(
            rng.random(mean.shape) < clicks,
            (mean + WATCH_NOISE * rng.standard_normal(mean.shape)).clip(0, 1), 0,
        )  # fmt: skip
        places = (rng.random((draws, len(rows), 1)) > ends).sum(2).clip(0, mean.shape[1] - 1)
        shown = np.zeros(mean.shape, dtype=bool)
        shown[rows, places] = True
        first.append(watched[rows, places[0]].mean())
        lists.append((watched * shown).sum(1).mean())
    for found, true in (
        (first, judged.true_watch(tiny)), (lists, judged.true_list_watch(tiny, draws)),
    ):  # fmt: skip
        assert true.shape == (len(rows),)
        assert abs(np.mean(found) - true.mean()) < 4 * np.std(found) / repeats**0.5


def test_stage_two_ends_at_its_closed_form():
    """A bandit of three actions: weighted likelihood of the log against the Lagrangian optimum."""
    stage1 = [
        torch.tensor(p, dtype=torch.float64).log() for p in ([0.2, 0.3, 0.5], [0.6, 0.3, 0.1])
    ]
    behavior = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    advantage, multipliers = torch.tensor([0.4, -0.2, 0.1], dtype=torch.float64), (0.3, 0.1)
    weights = stage2_weights(stage1, behavior.log(), advantage, multipliers)
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100, tolerance_grad=1e-10)

    def loss():
        optimizer.zero_grad()
        found = -(behavior * weights * logits.log_softmax(0)).sum()
        found.backward()
        return found

    optimizer.step(loss)
    optimum = stage2_optimum(stage1, advantage, multipliers)
    assert logits.detach().softmax(0).numpy() == pytest.approx(optimum.numpy(), abs=1e-3)
    by_hand = np.array([0.2**0.75 * 0.6**0.25, 0.3, 0.5**0.75 * 0.1**0.25]) * np.exp(
        advantage.numpy() / 0.4
    )
    assert optimum.numpy() == pytest.approx(by_hand / by_hand.sum())


def test_the_limits_of_the_multipliers():
    stage1 = [torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).log()]
    advantage = torch.tensor([0.4, 0.6, 0.1], dtype=torch.float64)
    near = stage2_optimum(stage1, advantage, (1e6,))
    assert near.numpy() == pytest.approx([0.2, 0.3, 0.5], abs=1e-5)
    assert stage2_optimum(stage1, advantage, (1e-3,)).argmax() == 1
    assert stage2_optimum(stage1, advantage, (1e-3,)).max() > 0.999
    assert stage2_weights(stage1, stage1[0], advantage, (1e-3,), exponent_cap=5).max() == (
        pytest.approx(np.exp(5))
    )
    log_prob = stage1[0].clone().requires_grad_()
    assert not actor_weights(log_prob, log_prob, advantage, 10.0).requires_grad


class Constant(nn.Module):
    """A critic that values a state by its turn."""

    def forward(self, users, recent, turns):
        return 10.0 * turns + 1


def test_targets_and_advantages_by_hand(log):
    batch = ImpressionBatches(log, CPU).batch(np.arange(len(log.users)), np.random.default_rng(0))
    rewards = {"hate": {"hate": -1.0}, "sum": {"watch": 1.0, "hate": -2.0}}
    row = int((batch.continued > 0).nonzero()[3])
    later = 10 * float(batch.next_turns[row]) + 1
    plain = batch.response("watch")[row] - 2 * batch.response("hate")[row] + 0.5 * later
    assert targets(Constant(), batch, rewards["sum"], 0.5)[row].tolist() == pytest.approx(
        plain.tolist()
    )
    end = int((batch.continued == 0).nonzero()[0])
    assert targets(Constant(), batch, rewards["hate"], 0.5)[end].tolist() == pytest.approx(
        (-batch.response("hate")[end]).tolist()
    )
    source = ImpressionBatches(log, CPU)
    found = advantages(Constant(), source, rewards["hate"], 0.5)
    after = 0.5 * (10 * batch.next_turns + 1) * batch.continued
    raw = -batch.response("hate") + (after - 10 * batch.turns - 1)[:, None]
    torch.testing.assert_close(found, (raw - raw.mean()) / raw.std())


def test_a_target_network_lags(log):
    critics = Critics({"watch": Critic(USERS, ITEMS, 4, 8)})
    target = copy.deepcopy(critics).requires_grad_(False)
    optimizer = torch.optim.Adam(critics.parameters(), 1e-2)
    task = CriticTask(critics, {"watch": {"watch": 1.0}}, {"watch": 0.9}, target, 0.25, optimizer)
    before = target["watch"].user.weight.clone()
    with torch.no_grad():
        critics["watch"].user.weight += 1
    task.after_step(1)
    assert torch.allclose(target["watch"].user.weight, before + 0.25)
    (phase,) = task.phases(1)
    batch = ImpressionBatches(log, CPU).batch(np.arange(30), np.random.default_rng(0))
    losses = phase.loss(batch)
    losses["loss"].backward()
    assert target["watch"].user.weight.grad is None
    assert critics["watch"].value[0].weight.grad.abs().sum() > 0
