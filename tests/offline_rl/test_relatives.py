"""The methods beside CRR: cloning under other weights, REINFORCE, SQN, Caser's three targets."""

import math
from typing import get_args

import numpy as np
import pytest
import torch

from okml.offline_rl.arms import ARMS, STAGE1, Method
from okml.offline_rl.networks import NextFew, build_encoder
from okml.offline_rl.settings import CRRSettings
from okml.offline_rl.simulator import (
    CLUSTER_ITEMS,
    INTRODUCTIONS,
    logging_policy,
    simulate,
    teacher,
)
from okml.offline_rl.softmax_pass import policy_pass
from okml.offline_rl.sqn import SQNTask, TwoHeads
from okml.offline_rl.study import Study
from okml.offline_rl.trainer import ArmTraining, stage_of
from okml.offline_rl.weighted import (
    TopKReinforce,
    WeightedTask,
    by_reward,
    clone_all,
    right_in_shop,
    wanted_only,
)
from okml.seqrec.batches import CausalBatch
from okml.seqrec.losses import Softmax
from tests.offline_rl.tables import TableEncoder, episodes, whole_batch
from tests.offline_rl.tiny import tiny

SEQUENCES = [[1, 2, 3, 4], [4, 2, 1], [2, 2, 3]]
REWARDS = [[0.2, 1.0, 0.2, 1.0], [0.2, 0.2, 1.0], [0.2, 0.2, 0.2]]


@pytest.fixture
def batch():
    return whole_batch(episodes(SEQUENCES, REWARDS), 4)


def weights_of(rule, batch, encoder):
    hidden = encoder(batch.items).flatten(0, 1)[batch.kept]
    targets = batch.targets.flatten()[batch.kept]
    found = policy_pass(hidden, encoder.item_matrix(), targets, weigh=rule(batch))
    return found.weights, found.log_prob


def random_table(seed):
    encoder = TableEncoder(4)
    encoder.table.data = torch.randn(5, 5, generator=torch.Generator().manual_seed(seed))
    return encoder


def test_weights_of_the_controls(batch):
    encoder, rewards = random_table(0), batch.rewards.flatten()[batch.kept]
    assert (weights_of(clone_all, batch, encoder)[0] == 1).all()
    torch.testing.assert_close(weights_of(by_reward, batch, encoder)[0], rewards)
    torch.testing.assert_close(
        weights_of(wanted_only(1.0), batch, encoder)[0], (rewards == 1).float()
    )


def test_right_actions_are_two_new_introductions_and_then_core_items():
    """Against a loop over the sessions of a log, and those of a teacher, who is always right."""
    rng = np.random.default_rng(0)
    log = simulate(logging_policy, 200, rng)
    sessions = [[item for item in row if item >= 0] for row in log.items.tolist()]
    expected = []
    for session in sessions:
        cluster = session[0] // CLUSTER_ITEMS
        for number, action in enumerate(session[1:], 1):
            own = action // CLUSTER_ITEMS == cluster
            of_cluster = [item for item in session[:number] if item // CLUSTER_ITEMS == cluster]
            seen = {item for item in of_cluster if item % CLUSTER_ITEMS < INTRODUCTIONS}
            is_new = action % CLUSTER_ITEMS < INTRODUCTIONS and action not in seen
            is_core = action % CLUSTER_ITEMS >= INTRODUCTIONS
            expected.append(own and (is_core if len(seen) >= 2 else is_new))
    weights = shop_weights(sessions)
    assert weights.tolist() == expected
    assert 0.05 < weights.mean() < 0.3
    taught = simulate(teacher(2), 200, rng)
    # The first item is of the visitor's cluster where the first action is, too.
    clusters = taught.items // CLUSTER_ITEMS
    faithful = taught.items[(clusters[:, 0] == clusters[:, 1]) & (taught.items[:, 1] >= 0)]
    assert (shop_weights([[item for item in row if item >= 0] for row in faithful]) == 1).all()


def shop_weights(sessions):
    """Return the weights of the actions of sessions of shop items, in their order."""
    made = episodes(sessions, [[0.2] * len(session) for session in sessions])
    batch = whole_batch(made, 19)
    encoder = TableEncoder(made.interactions.item_count)
    return weights_of(right_in_shop(made.interactions), batch, encoder)[0]


def test_cloning_is_cross_entropy(batch):
    encoder = random_table(0)
    task = WeightedTask(encoder, torch.optim.SGD(encoder.parameters(), 0.1), clone_all)
    hidden = encoder(batch.items).flatten(0, 1)[batch.kept]
    expected = torch.nn.functional.cross_entropy(
        hidden @ encoder.item_matrix()[1:].T, batch.targets.flatten()[batch.kept] - 1
    )
    torch.testing.assert_close(task.losses(batch)["loss"], expected)


def test_reinforce_weights_by_hand(batch):
    behavior, policy = random_table(1), random_table(2)
    rule = TopKReinforce(behavior, scale=2.0, chunk_bytes=2**20, k=3, cap=1.5)
    weights, log_prob = weights_of(rule, batch, policy)
    states, targets = (x.flatten()[batch.kept] for x in (batch.items, batch.targets))
    for row in range(len(states)):
        pi, beta = (
            float(table.table.data[1:, states[row]].softmax(0)[targets[row] - 1])
            for table in (policy, behavior)
        )
        returns = float(batch.returns.flatten()[batch.kept][row]) / 2.0
        expected = min(pi / beta, 1.5) * 3 * (1 - pi) ** 2 * returns
        assert weights[row].item() == pytest.approx(expected, rel=1e-4)
        assert log_prob[row].item() == pytest.approx(math.log(pi), rel=1e-4)


def test_double_q_targets_by_hand():
    batch = whole_batch(episodes([[1, 2, 3]], [[0.0, 0.5, 1.0]]), 2)
    heads = TwoHeads(random_table(0))
    task = SQNTask(heads, torch.optim.SGD(heads.parameters(), 0.1), CRRSettings(gamma=0.5))
    make = torch.Generator().manual_seed(5)
    for module in (heads, task.heads_copy):
        module.action.data = torch.randn(5, 5, generator=make)
    choice = int(heads.action.data[1:, 2].argmax()) + 1  # chosen by one, valued by the other
    goal = 0.5 + 0.5 * task.heads_copy.action.data[choice, 2].item()
    q = heads.action.data[2, 1].item(), heads.action.data[3, 2].item()
    expected = ((q[0] - goal) ** 2 + (q[1] - 1.0) ** 2) / 4
    losses = task.losses(batch)
    assert losses["temporal_difference"].item() == pytest.approx(expected, rel=1e-5)


def test_sac_weighs_likelihood_by_q_from_its_step_on(batch):
    heads = TwoHeads(random_table(0))
    heads.action.data = torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
    task = SQNTask(heads, torch.optim.SGD(heads.parameters(), 0.1), CRRSettings(), weighted_from=3)
    states, targets = (x.flatten()[batch.kept] for x in (batch.items, batch.targets))
    q = heads.action.data[targets, states]
    log_prob = heads.encoder.table.data[1:, states].log_softmax(0)[targets - 1, range(len(states))]
    for step, weights in ((2, torch.ones_like(q)), (3, q)):
        task.phases(step)
        expected = -(weights * log_prob).mean()
        assert task.losses(batch)["actor"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_caser_learns_the_next_three_items():
    encoder = random_table(3)
    items = torch.tensor([[1, 2, 3, 4], [2, 1, 0, 0]])
    targets = torch.tensor([[2, 3, 4, 1], [1, 3, 0, 0]])
    batch = CausalBatch(
        items, torch.zeros_like(items), targets, torch.arange(2), True, int((targets > 0).sum())
    )
    logs = encoder.table.data[1:].log_softmax(0)  # [a, s]
    terms = []
    for row in range(2):
        for place in range(4):
            for ahead in range(3):
                if place + ahead < 4 and targets[row, place + ahead] and items[row, place]:
                    terms.append(-logs[targets[row, place + ahead] - 1, items[row, place]].item())
    found = NextFew(encoder, Softmax())(batch)
    assert found.item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_each_method_trains_by_a_task_of_its_own(tmp_path):
    """A method that the trainer does not know would train on the next item, as stage 1 does."""
    profile = tiny()
    log, data = profile.funnel, Study(profile, tmp_path).data(profile.funnel)
    start, methods = build_encoder(data, ARMS[STAGE1], None), {}
    for arm in ARMS.values():
        if arm.method == "crr" or arm.language_weights:  # actor and critics, see test_crr.py
            continue
        encoder = build_encoder(data, arm, start if arm.from_stage1 else None)
        stage = stage_of(log, arm, None, 1.0)
        training = ArmTraining(profile, data, arm, stage, start, None, torch.device("cpu"))
        task = training._task(encoder, 2)
        kind = (
            type(task),
            *(type(part) for part in task.modules.values()),
            getattr(task, "weighted_from", None) is not None,  # SAC
            isinstance(getattr(task, "rule", None), TopKReinforce),
        )
        methods.setdefault(kind, set()).add(arm.method)
    assert set().union(*methods.values(), {"crr"}) == {*get_args(Method)}
    for shared in methods.values():
        assert len(shared) == 1, f"ArmTraining._task trains {shared} alike"
