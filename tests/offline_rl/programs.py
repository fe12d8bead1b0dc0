"""CRR and its relatives as programs that can be interrupted or run by two processes."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from okml.offline_rl.actor import DistilGPT2Actor
from okml.offline_rl.critic import Critics, LSTMCritic
from okml.offline_rl.crr import CRRTask
from okml.offline_rl.settings import ActorSettings, CriticSettings, CRRSettings
from okml.offline_rl.sqn import SQNTask, TwoHeads
from okml.offline_rl.weighted import WeightedTask, by_reward
from okml.runtime import seed_everything
from okml.training import History, TrainingSettings, TrainingTask, fit
from tests.offline_rl.tables import episodes, source

ITEMS, LENGTH = 6, 5
# Sessions of one length, so that means over micro-batches are means over their transitions.
SEQUENCES = [[1 + (start + step * pace) % ITEMS for step in range(6)]
             for start in range(6) for pace in (1, 2, 5)]  # fmt: skip
REWARDS = [[1.0 if item % 2 else 0.2 for item in sequence] for sequence in SEQUENCES]
BASE = TrainingSettings(batch_size=6, max_steps=8, seed=1, device="cpu", checkpoint_every=4)


def build(kind: str, dropout: float = 0.0) -> TrainingTask:
    """Return a task with fresh weights."""
    seed_everything(0)
    settings = ActorSettings(width=8, layers=1, heads=2, dropout=dropout, attention_dropout=0.0)
    actor = DistilGPT2Actor(ITEMS, LENGTH, settings)
    if kind == "sqn":
        heads = TwoHeads(actor)
        return SQNTask(
            heads, torch.optim.Adam(heads.parameters(), 1e-2), CRRSettings(target_every=3)
        )
    if kind == "weighted":
        return WeightedTask(actor, torch.optim.Adam(actor.parameters(), 1e-2), by_reward)
    critics = Critics([LSTMCritic(ITEMS, CriticSettings(width=4, hidden=4)) for _ in range(2)])
    optimizers = {
        "actor": torch.optim.Adam(actor.parameters(), 1e-2),
        "critic": torch.optim.Adam(critics.parameters(), 1e-2),
    }
    crr = CRRSettings(target_every=3, next_action="target" if kind == "crr_target" else "online")
    dealt = None
    if kind == "crr_dealt":
        dealt = DistilGPT2Actor(ITEMS, LENGTH, settings)
        optimizers["dealt"] = torch.optim.Adam(dealt.parameters(), 1e-2)
    return CRRTask(actor, critics, optimizers, crr, rewards=(0.2, 1.0), dealt=dealt)


def train(kind: str, folder: Path, dropout: float = 0.0, **changes: object) -> History:
    """Train from scratch, or go on with what the folder holds."""
    task = build(kind, dropout)
    made = episodes(SEQUENCES, REWARDS)
    return fit(task, source(made, LENGTH), BASE.model_copy(update=changes), folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("kinds", nargs="+")
    arguments = parser.parse_args()
    for kind in arguments.kinds:
        train(kind, arguments.folder / kind)
