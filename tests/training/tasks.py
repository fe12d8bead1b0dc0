"""Small tasks that the tests of this folder share, and a program that trains one of them."""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from okml.training import Losses, Phase, TrainingSettings, TrainingTask, fit
from tests.device import DEVICE

BASE = TrainingSettings(
    batch_size=8,
    max_steps=23,
    ema_decay=0.9,
    gradient_clip=1.0,
    evaluate_every=4,
    evaluate_unit="step",
    monitor="error",
    mode="min",
    checkpoint_every=3,
    log_every=1,
    seed=5,
)


class Noisy:
    """42 rows, not a multiple of the batch, with noise from the generator a batch is given."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.x = torch.from_numpy(rng.normal(size=(42, 3)).astype(np.float32))
        self.y = self.x @ torch.tensor([[1.0], [-2.0], [0.5]])

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        noise = torch.from_numpy(rng.normal(scale=0.01, size=(len(indices), 3)).astype(np.float32))
        return self.x[indices] + noise, self.y[indices]


class ActorCritic(TrainingTask):
    """Two networks, two optimizers, a target network, dropout, a schedule and state of its own."""

    def __init__(self, dropout: float = 0.2) -> None:
        torch.manual_seed(1)
        critic = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))
        target = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))
        target.load_state_dict(critic.state_dict())
        actor = nn.Linear(3, 3)
        optimizers = {
            "critic": torch.optim.AdamW(critic.parameters(), lr=0.02),
            "actor": torch.optim.SGD(actor.parameters(), lr=0.05, momentum=0.9),
        }
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizers["critic"], 40)
        super().__init__(
            {"critic": critic, "target": target.requires_grad_(False), "actor": actor},
            optimizers,
            {"critic": schedule},
        )
        self.seen: list[Tensor] = []
        self.examples = 0
        self.evaluations = 0
        self.kill_at_step: int | None = None
        self.signal: signal.Signals = signal.SIGKILL
        self.data = Noisy()

    def phases(self, step: int) -> list[Phase]:
        if step == self.kill_at_step:
            os.kill(os.getpid(), self.signal)
        critic = Phase(self.critic_loss, ("critic",), "critic")
        actor = Phase(self.actor_loss, ("actor",), "actor")
        return [critic, actor] if step % 2 == 0 else [critic]

    def critic_loss(self, batch: tuple[Tensor, Tensor]) -> Losses:
        x, y = batch
        self.seen.append(x)
        self.examples += len(x)
        error = self.modules["critic"](x) - y
        anchor = (self.modules["critic"](x) - self.modules["target"](x)).square().mean()
        return {"loss": error.square().mean() + 0.1 * anchor, "anchor": anchor}

    def actor_loss(self, batch: tuple[Tensor, Tensor]) -> Losses:
        x, _ = batch
        moved = x + self.modules["actor"](x)
        return {"loss": self.modules["critic"](moved).square().mean()}

    def after_step(self, step: int) -> None:
        pairs = zip(
            self.modules["target"].parameters(), self.modules["critic"].parameters(), strict=True
        )
        for old, new in pairs:
            old.data.lerp_(new.data, 0.1)

    def evaluate(self) -> dict[str, float]:
        self.evaluations += 1
        torch.rand(3)  # must not change the training
        device = next(self.modules["critic"].parameters()).device
        error = self.modules["critic"](self.data.x.to(device)) - self.data.y.to(device)
        return {"error": float(error.square().mean())}

    def state(self) -> dict[str, int]:
        return {"examples": self.examples}

    def load_state(self, state: dict[str, int]) -> None:
        self.examples = state["examples"]


def all_weights(task: TrainingTask) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value.cpu().clone()
        for name, module in task.modules.items()
        for key, value in module.state_dict().items()
    }


def _die_at_sync(number: int) -> None:
    """Kill this process in its ``number``-th call of fsync, which is amid writing a checkpoint."""
    real, calls = os.fsync, 0

    def fsync(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        real(handle)

    os.fsync = fsync


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--kill-at-step", type=int)
    parser.add_argument("--kill-at-sync", type=int)
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--batch-norm", action="store_true")
    arguments = parser.parse_args()
    if arguments.kill_at_sync:
        _die_at_sync(arguments.kill_at_sync)
    task = ActorCritic(arguments.dropout)
    if arguments.batch_norm:
        task.modules["critic"].append(nn.BatchNorm1d(1))
    task.kill_at_step = arguments.kill_at_step
    changes = {"gradient_accumulation": arguments.accumulation, "device": DEVICE}
    fit(task, Noisy(), BASE.model_copy(update=changes), arguments.run_dir)
    rank = os.environ.get("RANK", "0")
    (arguments.run_dir / f"evaluations{rank}").write_text(str(task.evaluations))


if __name__ == "__main__":
    main()
