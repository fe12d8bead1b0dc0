"""Two processes pre-train one user model whose item rows they share; each has half of a batch."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from okml.runtime import seed_everything
from okml.seqrec.losses import SampledSoftmaxSettings, build_sampler
from okml.seqrec.popularity import item_counts
from okml.seqrec.tasks import OptimizerSettings, build_optimizer
from okml.training import SupervisedTask, fit
from okml.training.sharded import full_weights, shard
from okml.video_workshop.common.losses import catalog_loss
from okml.video_workshop.common.spread_rows import look_up
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.items.hybrid import HybridTable
from okml.video_workshop.items.multimodal import ContentTable
from okml.video_workshop.settings.users import LossWeights, UserModelSettings
from okml.video_workshop.users.batches import WindowBatches, user_windows
from okml.video_workshop.users.pretraining import Pretraining
from tests.processes import worker
from tests.video_workshop.users_tiny import BASE, GENRES, ITEMS, LENGTH, watched

WIDTH = 8  # 13 rows: slices of 7 and 6
LOSS = SampledSoftmaxSettings(negatives=5, alpha=0.5)
ROWS = "model.table.own.rows.weight"
ASKED = (torch.tensor([[3, 12], [0, 3]]), torch.zeros(0, 2, dtype=torch.int64))  # by rank


def objective(mesh: DeviceMesh | None = None) -> Pretraining:
    """Return a user model on own rows and content, with every head of its pre-training."""
    log = watched()
    counts = item_counts(log.interactions)
    seed_everything(0)
    features = np.random.default_rng(0).standard_normal((ITEMS + 1, 6)).astype(np.float32)
    table = HybridTable(ContentTable({"text": features}, WIDTH), counts, pseudo_cold=0, mesh=mesh)
    settings = UserModelSettings(length=LENGTH, width=WIDTH, layers=1, heads=2, dropout=0)
    model = UserModel(table, settings, genres=GENRES)
    genres = torch.arange(ITEMS + 1)[:, None] % GENRES == torch.arange(GENRES)
    loss = catalog_loss(LOSS, counts, counts > 0)
    return Pretraining(model, loss, genres.float(), LossWeights(multi=0.3))


def train(made: Pretraining, accumulation: int) -> torch.optim.Optimizer:
    """Take steps on full windows, so that means over parts of a batch are means over targets."""
    log = watched()
    windows = user_windows(log.interactions, log.interactions.offsets[1:], LENGTH)
    full = windows.stop - LENGTH - 1 >= log.interactions.offsets[windows.user]
    counts = item_counts(log.interactions)
    source = WindowBatches(log, windows.take(full), negatives=build_sampler(LOSS, counts))
    optimizer = build_optimizer(made, OptimizerSettings(learning_rate=1e-2, weight_decay=0.01))
    for group in optimizer.param_groups:
        group["eps"] = 1e-4  # or Adam makes whole steps of a key's bias, whose gradient is rounding
    task = SupervisedTask(made, lambda model, batch: model(batch), optimizer)
    fit(task, source, BASE.model_copy(update={"gradient_accumulation": accumulation}))
    return optimizer


def bytes_a_row(rows: DTensor, optimizer: torch.optim.Optimizer) -> float:
    """Return what a process holds for each of its rows: weight, gradient and moments."""
    assert rows.grad is not None
    moments = (each for each in optimizer.state[rows].values() if each.ndim == 2)
    held = [part.to_local() for part in (rows.detach(), rows.grad, *moments)]
    return sum(part.untyped_storage().nbytes() for part in held) / len(held[0])


def work(rank: int) -> dict[str, Tensor]:
    """Return what one of the two processes finds."""
    mesh = init_device_mesh("cpu", (2,))
    made = objective(mesh)
    rows = cast(DTensor, made.get_parameter(ROWS))
    found = {"local rows": torch.tensor(len(rows.to_local()))}
    found["looked up"] = look_up(rows, ASKED[rank]).detach()
    shard(made, (), mesh=mesh)
    found |= {f"first {name}": value for name, value in full_weights(made).items()}
    optimizer = train(made, accumulation=1)
    found |= {f"last {name}": value for name, value in full_weights(made).items()}
    look_up(rows, ASKED[rank]).sum().backward()
    found["bytes a row"] = torch.tensor(bytes_a_row(rows, optimizer))
    assert rows.grad is not None
    found["gradient"] = rows.grad.full_tensor()
    return found


if __name__ == "__main__":
    worker(work)
