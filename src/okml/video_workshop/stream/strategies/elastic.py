"""Elastic weight consolidation: a quadratic penalty on changes of important weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from okml.seqrec.batches import CausalBatch
from okml.video_workshop.stream.recommenders import Recommender
from okml.video_workshop.stream.slices import before_period
from okml.video_workshop.stream.strategies.incremental import Incremental
from okml.video_workshop.stream.trainer import Penalty, StreamTrainer


class ElasticWeights(Incremental):
    """An update with the penalty ``strength / 2 * sum F (theta - theta_old)^2``.

    ``F`` is the diagonal of the empirical Fisher information on events before the period: mean
    squared gradients (Kirkpatrick et al., 2017), here of batches instead of single targets, which
    is cheaper and gives smaller values.

    Args:
        strength: Factor of the penalty.
        batches: Number of batches of old windows for the Fisher information.
    """

    def __init__(self, strength: float, batches: int = 8) -> None:
        super().__init__()
        self.strength = strength
        self.batches = batches

    def penalty(self, trainer: StreamTrainer, recommender: Recommender, period: int) -> Penalty:
        """Return the penalty around the current weights."""
        return _Elastic(recommender, fisher(trainer, recommender, period, self.batches),
                        self.strength)  # fmt: skip


class _Elastic(Penalty):
    def __init__(self, recommender: Recommender, weights: list[Tensor], strength: float) -> None:
        self.weights = weights
        self.strength = strength
        self.old = [parameter.detach().clone() for parameter in recommender.parameters()]

    def __call__(self, recommender: Recommender) -> Tensor:
        terms = [
            (weight * (parameter - old).square()).sum()
            for weight, parameter, old in zip(
                self.weights, recommender.parameters(), self.old, strict=True
            )
        ]
        return 0.5 * self.strength * torch.stack(terms).sum()


def fisher(
    trainer: StreamTrainer, recommender: Recommender, period: int, batches: int
) -> list[Tensor]:
    """Return mean squared gradients of the loss on windows before ``period``, by parameter."""
    settings = trainer.settings
    slices = before_period(trainer.stream, period, settings.model.length)
    source = trainer.source(recommender, slices, period - 1)
    loss = trainer.loss(period - 1)
    rng = np.random.default_rng([trainer.seed, period])
    parameters = list(recommender.parameters())
    total = [torch.zeros_like(parameter) for parameter in parameters]
    recommender.eval()
    for _ in range(batches):
        chosen = rng.choice(len(source), min(settings.batch, len(source)), replace=False)
        batch: CausalBatch = source.batch(chosen, rng)
        matrix = recommender.item_matrix()
        value = loss(recommender(batch), matrix, batch.targets, batch.negatives)
        gradients = torch.autograd.grad(value, parameters, allow_unused=True)
        for of, gradient in zip(total, gradients, strict=True):
            if gradient is not None:
                of += gradient.square() / batches
    return total
