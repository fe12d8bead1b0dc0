"""Training tasks of encoders and losses for :func:`okml.training.fit`.

The common case::

    objective = EveryPosition(encoder, build_loss(settings, counts))
    optimizer = build_optimizer(objective, OptimizerSettings())
    task = objective_task(objective, optimizer, validation(rows))
    fit(task, CausalBatches(interactions, windows), TrainingSettings(monitor="ndcg@10", ...))
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LinearLR, LRScheduler

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone
from okml.seqrec.batches import CausalBatch, LastTargetBatch, LastTargetBatches
from okml.seqrec.encoder import Encoder
from okml.seqrec.losses import ItemLoss
from okml.seqrec.metrics import mean_metrics
from okml.seqrec.ranking import rank_rows
from okml.seqrec.scorers import encoder_scorer
from okml.settings import BelowOne, LearningRate, NonNegative, Positive, Settings, Whole
from okml.training import SupervisedTask

Evaluation = Callable[[nn.Module], Mapping[str, float]]


class OptimizerSettings(Settings):
    """The settings of AdamW, which equals Adam with the default weight decay of 0."""

    learning_rate: LearningRate = 1e-3
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    epsilon: Positive = 1e-8
    weight_decay: NonNegative = 0.0  # applies to matrices; see `parameter_groups`
    warmup_steps: Whole = 0  # steps of a linear warm-up of the learning rate


class Objective(nn.Module, ABC):
    """An encoder and a loss in one module, for parallel and compiled wrappers."""

    def __init__(self, encoder: Encoder, loss: ItemLoss) -> None:
        super().__init__()
        self.encoder = encoder
        self.loss = loss

    @abstractmethod
    def forward(self, batch: Any) -> Tensor:
        """Return the mean loss over the targets of a batch, a scalar."""


class EveryPosition(Objective):
    """The loss of all positions with a target.

    Raises:
        ParameterError: If the encoder is a bidirectional backbone, which sees its targets.
    """

    def __init__(self, encoder: Encoder, loss: ItemLoss) -> None:
        if isinstance(encoder, Backbone) and not encoder.settings.causal:
            raise ParameterError(
                "A bidirectional encoder sees the next item, so predicting it teaches nothing.",
                "Set causal=True, or use LastTarget, or BERT4Rec with ClozeBatches.",
            )
        super().__init__(encoder, loss)

    def forward(self, batch: CausalBatch) -> Tensor:
        """Return the mean loss over the targets of a batch, ``[b, n]``, a scalar."""
        hidden = self.encoder(batch.items, batch.times, batch.padded)  # [b, n, d]
        matrix = self.encoder.item_matrix()
        given = (batch.targets, batch.negatives, batch.count)
        return self.loss(hidden, matrix, *given)  # type: ignore[no-any-return]


class LastTarget(Objective):
    """The loss of the one target after each history."""

    def forward(self, batch: LastTargetBatch) -> Tensor:
        """Return the mean loss over the targets of a batch, ``[b]``, a scalar."""
        hidden = self.encoder.last(batch.items, batch.times, batch.padded)  # [b, d]
        matrix = self.encoder.item_matrix()
        given = (batch.target, batch.negatives, len(batch.target))
        return self.loss(hidden, matrix, *given)  # type: ignore[no-any-return]


def objective_task(
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    evaluate: Evaluation | None = None,
    warmup_steps: int = 0,
) -> SupervisedTask:
    """Return a task that trains an encoder with an objective.

    Args:
        objective: The encoder and the loss; the encoder's ``padding_side`` is that of the batches.
        optimizer: An optimizer of the encoder's weights; see :func:`build_optimizer`.
        evaluate: The evaluation of the model; see :func:`validation`.
        warmup_steps: The number of steps of the linear warm-up of the learning rate.
    """
    return SupervisedTask(
        objective,
        lambda model, batch: model(batch),
        optimizer,
        scheduler=warmup(optimizer, warmup_steps),
        evaluate=evaluate,
    )


def build_optimizer(module: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Return AdamW over the parameters of ``module``."""
    return torch.optim.AdamW(
        parameter_groups(module, settings.weight_decay),
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.epsilon,
        fused=True,
    )


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return groups of parameters, of which only the first has weight decay.

    Weight decay applies to matrices; not to biases and norms, nor to embeddings, since most of
    their rows get no gradient in a step and the decay would shrink rare items to zero.
    """
    embeddings = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in module.parameters():
        is_matrix = parameter.ndim > 1 and id(parameter) not in embeddings
        (decayed if is_matrix else kept).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def warmup(optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler | None:
    """Return a scheduler with the factor ``min(i / steps, 1)`` at step ``i`` (from 1), or None."""
    if steps < 2:
        return None
    return LinearLR(optimizer, start_factor=1 / steps, total_iters=steps - 1)


def validation(
    rows: LastTargetBatches,
    *,
    hide_seen: bool = False,
    ks: tuple[int, ...] = (10,),
    batch_size: int = 512,
) -> Evaluation:
    """Return an evaluation that ranks the targets of ``rows`` in the whole catalog.

    Its metrics are called ``ndcg@10``, ``hr@10``, ``mrr@10``; ``monitor`` names one of them.
    """

    def evaluate(model: nn.Module) -> Mapping[str, float]:
        assert isinstance(model, Objective)
        encoder = model.encoder
        ranks = rank_rows(
            encoder_scorer(encoder),
            rows,
            hide_seen=hide_seen,
            batch_size=batch_size,
            device=encoder.item_matrix().device,
        )
        return mean_metrics(ranks, ks)

    return evaluate
