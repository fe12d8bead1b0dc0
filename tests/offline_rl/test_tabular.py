"""CRR on an MDP that can be solved: better than its log, and equal to Tianshou's CRR."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from okml.offline_rl.critic import Critics
from okml.offline_rl.crr import CRRTask
from okml.offline_rl.settings import CRRSettings
from okml.training import TrainingSettings, fit
from tests.offline_rl.tables import TableEncoder, episodes, policy_value, source, whole_batch

ITEMS, STEPS, GAMMA = 5, 8, 0.9


def world():
    """Return rewards ``[s, a]``: 1 pays a little at once; 3 pays a lot, but only after 2."""
    rewards = np.full((ITEMS + 1, ITEMS + 1), 0.0)
    rewards[:, 1] = 0.3
    rewards[2, 3] = 1.0
    return rewards


def behavior():
    """Return a policy that likes what pays at once."""
    policy = np.full((ITEMS + 1, ITEMS + 1), 0.0)
    policy[:, 1:] = [0.4, 0.15, 0.15, 0.15, 0.15]
    return policy


def log(count=1500):
    rng = np.random.default_rng(0)
    policy, rewards = behavior(), world()
    state = rng.integers(1, ITEMS + 1, size=count)
    items, paid = [state], [np.zeros(count)]
    for _ in range(STEPS):
        action = 1 + (rng.random(count)[:, None] > policy[state][:, 1:].cumsum(1)).sum(1)
        paid.append(rewards[state, action])
        items.append(action)
        state = action
    return episodes(np.stack(items, 1).tolist(), np.stack(paid, 1).tolist(), GAMMA)


def learned_policy(table):
    """Return ``[s, a]`` with nothing for the padding."""
    policy = np.zeros((ITEMS + 1, ITEMS + 1))
    policy[:, 1:] = table.detach()[1:].T.softmax(1).numpy()
    return policy


def value_of(policy):
    start = np.r_[0, np.full(ITEMS, 1 / ITEMS)]
    return policy_value(policy, world(), GAMMA, STEPS, start)


def best_value():
    value = np.zeros(ITEMS + 1)
    for _ in range(STEPS):
        value = (world() + GAMMA * value[None, :])[:, 1:].max(1)
    return float(value[1:].mean())


def crr_task(made, kind, copy_every=20):
    actor, critics = TableEncoder(ITEMS), Critics([TableEncoder(ITEMS)])
    optimizers = {
        "actor": torch.optim.Adam(actor.parameters(), 0.05),
        "critic": torch.optim.Adam(critics.parameters(), 0.05),
    }
    crr = CRRSettings(
        gamma=GAMMA, filter=kind, beta=0.1, next_action="target",
        target_every=copy_every,
    )  # fmt: skip
    return CRRTask(actor, critics, optimizers, crr, rewards=(0.0, 1.0)), actor


@pytest.fixture(scope="module")
def made():
    return log()


@pytest.fixture(scope="module")
def trained(made):
    """Return the value of what CRR learns, by filter."""
    found = {}
    for kind in ("all", "exp", "binary"):
        task, actor = crr_task(made, kind)
        run = TrainingSettings(batch_size=100, max_steps=300, device="cpu")
        fit(task, source(made, STEPS), run)
        found[kind] = value_of(learned_policy(actor.table))
    return found


def test_crr_improves_on_its_log_toward_the_optimum(trained):
    logged, best = value_of(behavior()), best_value()
    assert trained["all"] == pytest.approx(logged, rel=0.05)
    for kind in ("exp", "binary"):
        assert logged + 0.6 * (best - logged) < trained[kind] <= best + 1e-9


def test_without_a_future_crr_stays_near_the_next_reward(made):
    task, actor = crr_task(made, "binary")
    task.settings = task.settings.model_copy(update={"gamma": 0.0})
    fit(task, source(made, STEPS), TrainingSettings(batch_size=100, max_steps=300, device="cpu"))
    myopic = value_of(learned_policy(actor.table))
    greedy = np.zeros((ITEMS + 1, ITEMS + 1))
    greedy[np.arange(ITEMS + 1), world().argmax(1)] = 1
    assert myopic == pytest.approx(value_of(greedy), rel=0.1)
    assert myopic < 0.75 * best_value()


class OneHot(nn.Module):
    """A table as Tianshou sees a network: states are numbers, outputs are of all actions."""

    def __init__(self, with_state):
        super().__init__()
        self.table = nn.Linear(ITEMS + 1, ITEMS, bias=False)
        nn.init.zeros_(self.table.weight)
        self.with_state = with_state

    def forward(self, obs, state=None, info=None):
        codes = torch.as_tensor(np.asarray(obs)).long().flatten()
        out = self.table(nn.functional.one_hot(codes, ITEMS + 1).float())
        return (out, state) if self.with_state else out


def tianshou_crr(copy_every):
    pytest.importorskip("tianshou")
    import gymnasium
    from tianshou.algorithm.imitation.discrete_crr import DiscreteCRR
    from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
    from tianshou.algorithm.optim import TorchOptimizerFactory

    actor, critic = OneHot(with_state=True), OneHot(with_state=False)
    policy = DiscreteActorPolicy(
        actor=actor, action_space=gymnasium.spaces.Discrete(ITEMS),
        dist_fn=lambda logits: torch.distributions.Categorical(logits=logits),
    )  # fmt: skip
    algorithm = DiscreteCRR(
        policy=policy, critic=critic, optim=TorchOptimizerFactory(torch.optim.SGD, lr=1.0),
        gamma=GAMMA, policy_improvement_mode="binary", min_q_weight=0.0,
        target_update_freq=copy_every,
    )  # fmt: skip
    return algorithm, actor.table.weight, critic.table.weight


def transitions(made):
    """Return the log as Tianshou's batch, all transitions of it."""
    from tianshou.data import Batch

    batch = whole_batch(made, STEPS)
    shape = (-1,)
    return Batch(
        obs=batch.items.reshape(shape).numpy(),
        act=batch.targets.reshape(shape).numpy() - 1,
        rew=batch.rewards.reshape(shape).numpy(),
        obs_next=batch.targets.reshape(shape).numpy(),
        done=batch.ends.reshape(shape).numpy(),
        terminated=batch.ends.reshape(shape).numpy(),
        returns=np.zeros(batch.items.numel()),
    )


def test_training_follows_tianshous_crr_step_by_step(made):
    """Tianshou sees one transition at a time, and its updates are averaged.

    With more, its loss multiplies a column of weights with a row of likelihoods (version 2.0.1),
    so every action gets the mean weight and CRR is cloning; one transition has no such product.
    Its exponential filter also lets gradients through the weights, so the binary one is compared.
    """
    few = episodes(*_some(made, 4), GAMMA)
    batch, rows = whole_batch(few, STEPS), transitions(few)
    algorithm, theirs, their_critic = tianshou_crr(copy_every=10 * len(rows))
    task, ours = crr_task(few, "binary", copy_every=10)
    mine = task.critics.each[0].table
    make = torch.Generator().manual_seed(3)
    for own, other in ((ours.table, theirs), (mine, their_critic)):
        own.data = torch.randn(own.shape, generator=make)
        other.data = own.data[1:].clone()
    task.critic_copy.load_state_dict(task.critics.state_dict())
    task.actor_copy.encoder.load_state_dict(ours.state_dict())
    first = ours.table.detach().clone()
    for step in range(1, 26):
        before = [theirs.data.clone(), their_critic.data.clone()]
        change = [torch.zeros_like(table) for table in before]
        for row in range(len(rows)):
            theirs.data, their_critic.data = before[0].clone(), before[1].clone()
            algorithm._update_with_batch(rows[row : row + 1])
            change[0] += theirs.data - before[0]
            change[1] += their_critic.data - before[1]
        theirs.data, their_critic.data = (
            table + delta / len(rows) for table, delta in zip(before, change, strict=True)
        )
        ours.zero_grad()
        task.critics.zero_grad()
        task.losses(batch)["loss"].backward()
        for table in (ours.table, mine):
            table.data -= table.grad
        task.after_step(step)
    assert (ours.table - first).abs().max() > 0.1
    torch.testing.assert_close(ours.table[1:].detach(), theirs.data, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(mine[1:].detach(), their_critic.data, rtol=1e-3, atol=1e-4)


def naive_crr(made, kind, steps=300):
    """CRR once more, dense and transition by transition, as its paper's equations say."""
    rng = np.random.default_rng(5)
    batch = whole_batch(made, STEPS)
    s, a, r, end = (x.flatten() for x in (batch.items, batch.targets, batch.rewards, batch.ends))
    logits, q = (torch.zeros(ITEMS + 1, ITEMS + 1, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.Adam([logits, q], 0.05)
    for step in range(steps):
        if step % 20 == 0:
            old_logits, old_q = logits.detach().clone(), q.detach().clone()
        some = torch.from_numpy(rng.choice(len(s), 800, replace=False))
        state, action = s[some], a[some]
        old = old_logits[action][:, 1:].softmax(1)
        after = (old * old_q[action][:, 1:]).sum(1) * ~end[some]
        error = q[state, action] - (r[some] + GAMMA * after)
        policy = logits[state][:, 1:].softmax(1).detach()
        gain = (q[state, action] - (policy * q[state][:, 1:]).sum(1)).detach()
        weight = (gain > 0).float() if kind == "binary" else (gain / 0.1).exp().clamp_max(20)
        likelihood = logits[state][:, 1:].log_softmax(1).gather(1, action[:, None] - 1)[:, 0]
        loss = (error**2).mean() / 2 - (weight * likelihood).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    policy = np.zeros((ITEMS + 1, ITEMS + 1))
    policy[:, 1:] = logits.detach()[:, 1:].softmax(1).numpy()
    return value_of(policy)


@pytest.mark.parametrize("kind", ["exp", "binary"])
def test_a_naive_crr_ends_at_the_same_value_within_noise(made, trained, kind):
    assert trained[kind] == pytest.approx(naive_crr(made, kind), rel=0.05)


def _some(made, count):
    offsets = made.interactions.offsets
    cut = [slice(a, b) for a, b in itertools.pairwise(offsets[: count + 1])]
    items = [made.interactions.items[part].tolist() for part in cut]
    return items, [made.rewards[part].tolist() for part in cut]
