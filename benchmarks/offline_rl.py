"""A CRR update beside one of pre-training, and beside CRR with dense matrices of Q, in one run.

All read the same batch of MovieLens-100K with the same networks: the actor of the profile `cpu`,
and its LSTM critic, on one thread, as the trainings of that profile have. The dense update is the
textbook one: logits and Q of every action at every position, as Tianshou computes them. They take
turns and medians count. Memory is the peak of a process that takes a few updates, libraries
included, each in a process of its own.

    python benchmarks/offline_rl.py --out offline_rl.json
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from okml.benchmark import (
    BenchmarkRecord,
    Check,
    Quantity,
    alone,
    compare,
    in_turns,
    parser_of,
    write_benchmark,
)
from okml.offline_rl.actor import DistilGPT2Actor
from okml.offline_rl.config import PROFILES
from okml.offline_rl.critic import Critics, LSTMCritic
from okml.offline_rl.crr import CRRTask
from okml.offline_rl.data import prepare
from okml.offline_rl.episodes import TransitionBatch, TransitionBatches
from okml.offline_rl.settings import CRRSettings, LogSettings
from okml.offline_rl.weighted import WeightedTask, clone_all
from okml.runtime import peak_memory_gib, seed_everything
from okml.training import TrainingTask

PRETRAINING = "a pre-training update at the same batch"
DENSE = "CRR with dense matrices of logits and Q"
BETA, GAMMA, RATE = 0.2, 0.9, 1e-3
TOLERANCE = 1e-4  # of losses in float32, summed in another order
QUANTITIES = (
    Quantity("milliseconds", "an update", "ms"),
    Quantity("memory", "peak memory of the process, after updates", "GiB"),
)


def problem() -> tuple[LogSettings, int, tuple[float, float], TransitionBatch]:
    """Return the protocol, the number of items, the range of rewards, and a batch."""
    profile = PROFILES["cpu"]
    data = prepare(profile.main, GAMMA)
    source = TransitionBatches(data.episodes, data.windows(), jitter=False)
    rng = np.random.default_rng(0)
    rows = rng.choice(len(source), profile.main.stage2.batch, replace=False)
    return profile.main, data.items, data.reward_range, source.batch(rows, rng)


def networks(settings: LogSettings, items: int) -> tuple[DistilGPT2Actor, Critics]:
    seed_everything(0)
    quiet = settings.actor.model_copy(update={"dropout": 0.0})  # so that losses can be compared
    critic = LSTMCritic(items, settings.critic)
    torch.nn.init.normal_(critic.action, std=0.1)
    return DistilGPT2Actor(items, settings.length, quiet), Critics([critic])


class DenseCRR:
    """The update with every matrix there is.

    Args:
        actor: The policy.
        critics: One critic.
    """

    def __init__(self, actor: DistilGPT2Actor, critics: Critics) -> None:
        self.actor = actor
        self.critic = critics.each[0]
        self.copy = copy.deepcopy(self.critic)

    def loss(self, batch: TransitionBatch) -> Tensor:
        """Return the loss of actor and critic."""
        real = batch.targets > 0
        chosen = batch.targets[..., None] - 1
        logits = (self.actor(batch.items) @ self.actor.item_matrix().T)[..., 1:]  # [b, n, V]
        policy = logits.detach().softmax(-1)
        q = (self.critic(batch.items) @ self.critic.item_matrix().T)[..., 1:]
        with torch.no_grad():
            old = (self.copy(batch.items) @ self.copy.item_matrix().T)[..., 1:]
            value = (policy * old).sum(-1) * real
            after = functional.pad(value[:, 1:], (0, 1)) * (batch.has_next & ~batch.ends)
            goal = batch.rewards + GAMMA * after
            counts = (batch.ends | batch.has_next) & real
        logged = q.gather(-1, chosen.clamp_min(0))[..., 0]
        critic = 0.5 * (((logged - goal) ** 2) * counts).sum() / counts.sum()
        gain = (logged - (policy * q).sum(-1)).detach()
        weights = (gain / BETA).exp().clamp_max(20.0)
        likelihood = logits.log_softmax(-1).gather(-1, chosen.clamp_min(0))[..., 0]
        actor = -(weights * likelihood * real).sum() / real.sum()
        return actor + critic


def contestants() -> dict[str, tuple[Callable[[], Tensor], list[torch.optim.Optimizer]]]:
    """Return, for each, its loss and its optimizers."""
    settings, items, rewards, batch = problem()
    chunk = PROFILES["cpu"].chunk_bytes

    def adam(*modules: torch.nn.Module) -> list[torch.optim.Optimizer]:
        return [torch.optim.AdamW(module.parameters(), RATE, fused=True) for module in modules]

    def loss_of(task: TrainingTask) -> Tensor:
        return next(iter(task.phases(1))).loss(batch)["loss"]

    actor, critics = networks(settings, items)
    both = adam(actor, critics)
    crr = CRRSettings(gamma=GAMMA, beta=BETA)
    named = dict(zip(("actor", "critic"), both, strict=True))
    task = CRRTask(actor, critics, named, crr, rewards=rewards, chunk_bytes=chunk)
    plain, _ = networks(settings, items)
    optimizer = adam(plain)
    cloning = WeightedTask(plain, optimizer[0], clone_all, chunk_bytes=chunk)
    dense_actor, dense_critics = networks(settings, items)
    dense = DenseCRR(dense_actor, dense_critics)
    return {
        "okml": (partial(loss_of, task), both),
        PRETRAINING: (partial(loss_of, cloning), optimizer),
        DENSE: (partial(dense.loss, batch), adam(dense_actor, dense_critics)),
    }


def update(loss: Callable[[], Tensor], optimizers: list[torch.optim.Optimizer]) -> float:
    """Take one update and return its loss."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    value = loss()
    value.backward()
    for optimizer in optimizers:
        optimizer.step()
    return float(value)


def first_losses() -> dict[str, float]:
    return {name: float(loss()) for name, (loss, _) in contestants().items()}


def peak_after_updates(name: str) -> float:
    """Return the peak memory of this process after a few updates, GiB."""
    loss, optimizers = contestants()[name]
    for _ in range(5):
        update(loss, optimizers)
    return peak_memory_gib()


def record(arguments: argparse.Namespace) -> BenchmarkRecord:
    torch.set_num_threads(arguments.threads)
    losses = first_losses()
    updates = {name: partial(update, *given) for name, given in contestants().items()}
    figures, _ = in_turns(updates, arguments.repeats, warm=3)
    for name, of in figures.items():
        of["milliseconds"] = 1000 * of["seconds"]
        of["memory"] = alone(peak_after_updates, name)
    ours = figures.pop("okml")
    settings, items, _, batch = problem()
    check = Check(
        what="the loss of a CRR update, ours and dense",
        difference=abs(losses["okml"] - losses[DENSE]) / losses[DENSE],
        tolerance=TOLERANCE,
    )
    return write_benchmark(
        arguments.out,
        "An update of critic-regularized regression",
        f"One update on {settings.stage2.batch} windows of MovieLens-100K with "
        f"{int((batch.targets > 0).sum()):,} transitions over {items:,} items: a block of "
        f"DistilGPT2 of width {settings.actor.width} as actor, an LSTM critic of width "
        f"{settings.critic.hidden}, the expectation over all actions as baseline and next value, "
        f"float32, threads: {arguments.threads}. CRR has more to do than pre-training, so that "
        "ratio is below 1; at 0.67 an update would cost one and a half times as much.",
        compare(ours, figures, QUANTITIES, arguments.repeats),
        [check],
    )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    print(record(parser.parse_args()))


if __name__ == "__main__":
    main()
