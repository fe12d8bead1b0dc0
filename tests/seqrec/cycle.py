"""A log that can be learned to the end: item i is followed by item i + 1, the last by the first.

As a program it trains SASRecs on it, for the tests with two processes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import polars as pl
import torch

from okml.seqrec.backbone import Backbone
from okml.seqrec.batches import CausalBatches, LastTargetBatches
from okml.seqrec.encoder import Encoder
from okml.seqrec.interactions import Interactions
from okml.seqrec.losses import AnyLoss, BinarySettings, SoftmaxSettings, build_loss, build_sampler
from okml.seqrec.popularity import item_counts
from okml.seqrec.settings import BackboneSettings
from okml.seqrec.splits import leave_one_out
from okml.seqrec.tasks import (
    EveryPosition,
    OptimizerSettings,
    build_optimizer,
    objective_task,
    validation,
)
from okml.training import SupervisedTask, TrainingSettings, fit

ITEMS = 9
LENGTH = 6
OPTIMIZER = OptimizerSettings(learning_rate=0.01, weight_decay=0.01, warmup_steps=5)
SHORT_RUN = TrainingSettings(
    batch_size=8,
    max_epochs=3,
    evaluate_every=1,
    monitor="ndcg@10",
    checkpoint_every=4,
    log_every=1,
    device="cpu",
    seed=3,
)


def interactions(users: int = 18) -> Interactions:
    """Histories of 6 to 13 events that start at different items."""
    rows = [
        (user, (user + place) % ITEMS + 1, 100 * user + place)
        for user in range(users)
        for place in range(6 + user % 8)
    ]
    return Interactions.from_frame(
        pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    )


LOG = interactions()
SPLIT = leave_one_out(LOG)
COUNTS = item_counts(LOG, SPLIT.train_end)


def settings(**changes: Any) -> BackboneSettings:
    values = {"length": LENGTH, "width": 16, "heads": 2, "hidden": 32, "dropout": 0.1}
    return BackboneSettings(**(values | changes))


def held_out(encoder: Encoder) -> LastTargetBatches:
    return LastTargetBatches(LOG, SPLIT.valid, LENGTH, padding_side=encoder.padding_side)


def sasrec(
    loss: AnyLoss, *, dropout: float = 0.1, window: int = LENGTH
) -> tuple[SupervisedTask, CausalBatches]:
    """Make a SASRec and its batches, with negatives, moving windows and a warm-up.

    Args:
        loss: Which.
        dropout: Of the backbone.
        window: Length of windows; of 3, every user has one, and none has padding.
    """
    torch.manual_seed(1)
    encoder = Backbone(ITEMS, settings(dropout=dropout))
    source = CausalBatches(
        LOG,
        SPLIT.training_windows(LOG, window, per_user=1 if window == 3 else None),
        padding_side=encoder.padding_side,
        jitter=window != 3,
        negatives=build_sampler(loss, COUNTS),
    )
    objective = EveryPosition(encoder, build_loss(loss, COUNTS))
    task = objective_task(
        objective,
        build_optimizer(objective, OPTIMIZER),
        validation(held_out(encoder)),
        OPTIMIZER.warmup_steps,
    )
    return task, source


PROGRAMS: dict[str, dict[str, Any]] = {
    "negatives": {"loss": BinarySettings(negatives=2), "dropout": 0.0},
    "equal": {"loss": SoftmaxSettings(), "dropout": 0.0, "window": 3},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for name, program in PROGRAMS.items():
        fit(*sasrec(**program), SHORT_RUN, folder / name)


if __name__ == "__main__":
    main()
