"""A program: trainings on two cards of the second device, with a worker process on each.

The second device is one card. Here it says that it is two, and the current one is remembered.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

import tests.second_device.device  # noqa: F401 - this process and its workers have that device
from okml.accelerator import pick_device
from okml.training import fit
from okml.training.ahead import train_ahead
from tests.training.tasks import BASE, ActorCritic, Noisy

JOBS = ("a", "b", "c")
current = [0]

torch.accelerator.device_count = lambda: 2
torch.accelerator.set_device_index = current.append  # type: ignore[assignment]


class Study:
    def __init__(self, profile: object, run_dir: Path) -> None:
        self.profile, self.run_dir, self.device = profile, run_dir, pick_device("auto")
        self.card = current[-1]  # a worker has taken it before it opens the study

    def needs(self, job: str) -> tuple[str, ...]:
        return ()

    def train(self, job: str) -> None:
        assert self.device.type == "second"
        (self.run_dir / f"{job} on {self.card}").touch()
        while job != "c" and len(list(self.run_dir.glob("[ab] on *"))) < 2:
            time.sleep(0.01)  # the first two, so that no worker takes both
        fit(ActorCritic(dropout=0.0), Noisy(), BASE, self.run_dir / job)


if __name__ == "__main__":
    train_ahead(Study(None, Path(sys.argv[1])), JOBS)
