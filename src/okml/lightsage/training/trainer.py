"""The training of encoders by the common training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from okml.lightsage.network.encoder import GraphEncoder, LightSAGE
from okml.lightsage.training.batches import BlockInputs, PairBatch
from okml.lightsage.training.losses import Encoded, LossSettings, pair_loss
from okml.seqrec.convergence import MONITOR
from okml.settings import (
    Count,
    DeviceName,
    LearningRate,
    NonNegative,
    Positive,
    Settings,
    Whole,
    stops_early,
)
from okml.training import BatchSource, History, SupervisedTask, TrainingSettings, fit

Evaluation = Callable[[], Mapping[str, float]]


class Hyperparameters(Settings):
    """The hyperparameters of an encoder's training; the paper's own are unpublished."""

    batch: Annotated[Count, Field(ge=2)] = 512  # pairs
    steps: Count = 400  # the largest number
    learning_rate: LearningRate = 5e-3  # AdamW
    weight_decay: NonNegative = 1e-4
    warmup_steps: Whole = 0
    # The rate after the warm-up: a cosine down to 0, which suits few steps, or constant. Under a
    # cosine every curve ends flat, so it tells nothing of whether an arm would go on to rise.
    schedule: Literal["cosine", "constant"] = "cosine"
    gradient_clip: Positive = 1.0
    evaluate_every: Count | None = None  # steps; None: nothing is validated
    patience: Count | None = None  # validations without a new best

    _stops = stops_early()


class ContrastiveModel(nn.Module):
    """An encoder and a loss as one module, which parallel and compiled modules can wrap."""

    def __init__(self, encoder: GraphEncoder, loss: LossSettings) -> None:
        super().__init__()
        self.encoder = encoder
        self.loss = loss

    def forward(self, batch: PairBatch) -> Tensor:
        """Return the mean loss of the pairs of a batch, a scalar."""
        vectors = self._encode(batch)  # [2B + M + B H, d]
        pairs, negatives = len(batch.query_ids), len(batch.negative_ids)
        sizes = [pairs, pairs, negatives, batch.hard.numel()]
        query, target, negative, hard = torch.split(vectors, sizes)
        return pair_loss(
            self.loss,
            Encoded(
                query=query,
                target=target,
                negative=negative,
                query_ids=batch.query_ids,
                target_ids=batch.target_ids,
                negative_ids=batch.negative_ids,
                target_log_q=batch.target_log_q,
                negative_log_q=batch.negative_log_q,
                hard=hard.view(*batch.hard.shape, -1) if batch.hard.numel() else None,
            ),
        )

    def _encode(self, batch: PairBatch) -> Tensor:
        inputs = batch.inputs
        if isinstance(inputs, BlockInputs):
            vectors: Tensor = self.encoder(inputs.features, inputs.ids, inputs.blocks)
            return vectors[inputs.places]
        assert isinstance(self.encoder, LightSAGE)  # the reader was chosen by the settings
        return self.encoder.of_hop(inputs.own, inputs.neighborhood)


def train_module(
    module: nn.Module,
    source: BatchSource,
    recipe: Hyperparameters,
    *,
    seed: int,
    device: DeviceName = "auto",
    folder: Path | None = None,
    evaluate: Evaluation | None = None,
    identity: Mapping[str, object] | None = None,
) -> History:
    """Train a module in place, or resume the training in ``folder``.

    Args:
        module: Module whose forward pass is the loss of a batch.
        source: Batches of the recipe's size.
        recipe: Hyperparameters of the training.
        seed: Random seed of the batches.
        device: Device of the training.
        folder: Folder of checkpoints; None: nothing is written.
        evaluate: Function that returns the validation's NDCG@10, whose best weights are kept; it
            is called as often as the recipe says.
        identity: Further facts that a resumed training must share, such as the loss.
    """
    validated = evaluate is not None and recipe.evaluate_every is not None
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    task = SupervisedTask(
        module,
        lambda module, batch: module(batch),
        optimizer,
        scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, _share_of_rate(recipe)),
        evaluate=None if evaluate is None or not validated else lambda _: evaluate(),
        identity=identity,
    )
    settings = TrainingSettings(
        batch_size=recipe.batch,
        max_steps=recipe.steps,
        shuffle="none",  # a batch is drawn, not looked up
        seed=seed,
        gradient_clip=recipe.gradient_clip,
        device=device,
        evaluate_every=recipe.evaluate_every if validated else None,
        evaluate_unit="step",
        monitor=MONITOR if validated else None,
        patience=recipe.patience if validated else None,
        keep_checkpoints=1,
    )
    return fit(task, source, settings, folder)


def _share_of_rate(recipe: Hyperparameters) -> Callable[[int], float]:
    """Return the factor of the learning rate at a step: a linear warm-up, then the schedule."""

    def share(step: int) -> float:
        if step < recipe.warmup_steps:
            return (step + 1) / recipe.warmup_steps
        if recipe.schedule == "constant":
            return 1.0
        rest = max(1, recipe.steps - recipe.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - recipe.warmup_steps) / rest)))

    return share
