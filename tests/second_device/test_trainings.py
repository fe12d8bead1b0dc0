"""On another device a training of each kind takes the steps that it takes on the CPU.

The device is an accelerator, or the second device, on which ``test_second_device`` runs this file.
Whole chapters are in ``test_chapters``; a card has these in seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from okml.accelerator import pick_device
from okml.lightsage.network.encoder import VARIANTS, LightSAGE
from okml.lightsage.network.sampler import NeighborSampler
from okml.lightsage.training.batches import BlockReader, NegativeSettings, PairBatches, Positives
from okml.lightsage.training.losses import LossSettings
from okml.lightsage.training.trainer import ContrastiveModel, Hyperparameters, train_module
from okml.settings import DeviceName
from okml.training import History, fit
from tests.add import tiny as add
from tests.device import NAME
from tests.lightsage.toys import edge_frame, features, graph
from tests.offline_rl import programs as offline_rl
from tests.periodic_behavior import test_dynamics as periodic_behavior
from tests.second_device.test_chapters import TOLERANCE
from tests.video_workshop import users_tiny as video_workshop

pytestmark = pytest.mark.gpu


def train_add(folder: Path, device: DeviceName) -> History:
    run = add.RUN.model_copy(update={"device": device, "max_steps": 2})
    return fit(add.task(), add.examples(), run, folder)


def train_lightsage(folder: Path, device: DeviceName) -> History:
    there, few = pick_device(device), Hyperparameters(batch=64, steps=3)
    torch.manual_seed(0)
    model = ContrastiveModel(LightSAGE(VARIANTS["V3"], features().shape[1]), LossSettings())
    reader = BlockReader(features().to(there), NeighborSampler(graph().to(there), (4, 3)))
    negatives = NegativeSettings(count=16)
    source = PairBatches(Positives.of(edge_frame(), 40), reader, negatives, few.batch)
    return train_module(model, source, few, seed=0, device=device, folder=folder)


def train_periodic_behavior(folder: Path, device: DeviceName) -> History:
    run = periodic_behavior.settings(2, device=device)
    return fit(periodic_behavior.task("invariant"), periodic_behavior.source(), run, folder)


TRAINED: dict[str, Callable[[Path, DeviceName], History]] = {
    "add": train_add,
    "lightsage": train_lightsage,
    "offline_rl": lambda folder, device: offline_rl.train("sqn", folder, device=device),
    "periodic_behavior": train_periodic_behavior,
    "video_workshop": lambda folder, device: video_workshop.train(folder, device=device),
}


def last_row(history: History) -> dict[str, float]:
    """Return what was measured at the end of a training."""
    row = history.frame.drop("seconds").row(-1, named=True)
    return {name: value for name, value in row.items() if value is not None}


@pytest.mark.usefixtures("same_draws")
@pytest.mark.parametrize("name", TRAINED)
def test_a_training_logs_what_it_does_on_the_cpu(name: str, tmp_path: Path) -> None:
    with sdpa_kernel(SDPBackend.MATH):  # the CPU has a kernel of its own, which rounds differently
        on_cpu, there = (last_row(TRAINED[name](tmp_path / on, on)) for on in ("cpu", "auto"))
    assert on_cpu.keys() == there.keys()
    assert any("loss" in column for column in on_cpu)
    assert np.isfinite([*there.values()]).all()
    if NAME == "second":  # a real GPU draws differently
        assert there == pytest.approx(on_cpu, abs=TOLERANCE, rel=TOLERANCE)
