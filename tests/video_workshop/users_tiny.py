"""A log made by hand, and pre-training on it as a program that two processes can run."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
import torch

from okml.runtime import seed_everything
from okml.seqrec.interactions import Interactions
from okml.seqrec.losses import AnyLoss, SoftmaxSettings
from okml.seqrec.popularity import item_counts
from okml.seqrec.tasks import OptimizerSettings, build_optimizer
from okml.training import History, SupervisedTask, TrainingSettings, fit
from okml.video_workshop.common.data import Watched
from okml.video_workshop.common.losses import catalog_loss
from okml.video_workshop.common.table import IdTable, ItemTable
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.settings.users import LossWeights, UserModelSettings
from okml.video_workshop.users.batches import WindowBatches, user_windows
from okml.video_workshop.users.pretraining import Pretraining

ITEMS, USERS, EVENTS, LENGTH, GENRES = 12, 20, 9, 4, 3
BASE = TrainingSettings(
    batch_size=10, max_steps=8, seed=1, device="cpu", checkpoint_every=4, gradient_clip=1.0
)


def watched(users: int = USERS, events: int = EVENTS, seed: int = 0) -> Watched:
    """Return users who walk around a ring of items and like even ones."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        items = 1 + (rng.integers(ITEMS) + np.arange(events)) % ITEMS
        times = 10_000 * user + np.cumsum(rng.choice([0, 30, 4_000], size=events))
        rows += [(user, int(item), int(time)) for item, time in zip(items, times, strict=True)]
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    interactions = Interactions.from_frame(frame)
    actions = np.where(interactions.items % 2 == 0, 3, 1) + rng.integers(2, size=len(interactions))
    films = pl.DataFrame(
        {
            "title": [f"film {i}" for i in range(1, ITEMS + 1)],
            "genres": [[f"genre {i % GENRES}"] for i in range(1, ITEMS + 1)],
        }
    )
    return Watched(interactions, actions.astype(np.int64), films)


def pretraining(
    log: Watched,
    dropout: float = 0.0,
    weights: LossWeights | None = None,
    intents: bool = False,
    table: ItemTable | None = None,
    loss: AnyLoss | None = None,
) -> Pretraining:
    """Return an objective with fresh weights, but for those of a given table."""
    seed_everything(0)
    settings = UserModelSettings(
        length=LENGTH, width=8, layers=1 + intents, heads=2, dropout=dropout, intents=intents
    )
    counts = item_counts(log.interactions)
    item_loss = catalog_loss(loss or SoftmaxSettings(), counts, np.ones(ITEMS + 1, dtype=bool))
    genres = torch.arange(ITEMS + 1)[:, None] % GENRES == torch.arange(GENRES)
    model = UserModel(table or IdTable(ITEMS, 8), settings, genres=GENRES)
    return Pretraining(model, item_loss, genres.float(), weights or LossWeights())


def train(folder: Path, dropout: float = 0.0, **changes: object) -> History:
    """Train from scratch, or go on with what the folder holds."""
    log = watched()
    objective = pretraining(log, dropout)
    windows = user_windows(log.interactions, log.interactions.offsets[1:], LENGTH)
    # Only full windows, so that means over micro-batches are means over their targets.
    full = windows.stop - LENGTH - 1 >= log.interactions.offsets[windows.user]
    windows = type(windows)(
        windows.user[full], windows.stop[full], windows.limit[full], windows.slack[full], LENGTH
    )
    task = SupervisedTask(
        objective,
        lambda model, batch: model(batch),
        build_optimizer(objective, OptimizerSettings(learning_rate=1e-2)),
    )
    return fit(task, WindowBatches(log, windows), BASE.model_copy(update=changes), folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    train(parser.parse_args().folder)
