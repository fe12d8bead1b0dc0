"""Compiled trainings of the theme of objectives: they take place, and take the same steps."""

import copy

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from okml.seqrec.dropout import Dropout
from okml.training import TrainingSettings, fit
from okml.video_workshop.goals.critics import Critic, Critics, CriticTask
from okml.video_workshop.goals.impressions import RESPONSES, ImpressionBatches
from okml.video_workshop.goals.policies import SoftmaxPolicy, policy_task
from okml.video_workshop.goals.rankers import TASKS, Ranker, ranker_task
from okml.video_workshop.goals.simulator import logging_policy, roll_out
from okml.video_workshop.settings.goals import RankerSettings
from okml.video_workshop.settings.users import MultiTaskHeadSettings
from tests.video_workshop.goals_tiny import ITEMS, SETTINGS, USERS, world

CONTENT = torch.zeros(ITEMS + 1, 1)


def ranker(kind):
    heads = MultiTaskHeadSettings(experts=2, expert_width=4, tower_width=4, gate_dropout=0.0)
    settings = RankerSettings(width=4, heads=heads)
    module = Ranker(USERS, CONTENT, kind, TASKS, settings, SETTINGS.recent, SETTINGS.slate)
    for part in module.modules():
        if isinstance(part, Dropout):
            part.p = 0.0  # that of a CPU draws bytes, which breaks a graph in two
    return ranker_task(module, settings)


def policy():
    def weigh(batch, log_prob, log_behavior):
        return (log_prob.detach() - log_behavior).exp()

    return policy_task(SoftmaxPolicy(USERS, CONTENT, 4), weigh, 1e-2)


def critics():
    module = Critics({name: Critic(USERS, ITEMS, 4, 8) for name in RESPONSES})
    target = copy.deepcopy(module).requires_grad_(False)
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    rewards, gammas = {name: {name: 1.0} for name in RESPONSES}, dict.fromkeys(RESPONSES, 0.9)
    return CriticTask(module, rewards, gammas, target, 0.1, optimizer)


@pytest.fixture(scope="module")
def source():
    tiny, rng = world(), np.random.default_rng(0)
    log = roll_out(tiny, logging_policy(tiny, SETTINGS), SETTINGS, rng, 1, keep_states=True)
    return ImpressionBatches(log, torch.device("cpu"))


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: ranker("two_tower"), id="two_tower"),
        pytest.param(lambda: ranker("mmoe"), id="mmoe"),
        pytest.param(lambda: ranker("transformer"), id="transformer"),
        policy,
        critics,
    ],
)
def test_compiled_training_takes_place_and_takes_the_same_steps(build, source, monkeypatch):
    """The graphs without kernels, which would take most of a minute to build."""

    def compile_graphs(module, **options):
        return compile_module(module, **options | {"backend": counter, "fullgraph": True})

    compile_module, counter = torch.compile, CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(torch, "compile", compile_graphs)
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)
        training = TrainingSettings(
            batch_size=64, max_steps=4, log_every=1, device="cpu", compile=compiled
        )
        frame = fit(build(), source, training).frame
        losses.append(frame.select(r"^.*/loss$").to_series().to_list())
        assert bool(counter.frame_count) == compiled
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
