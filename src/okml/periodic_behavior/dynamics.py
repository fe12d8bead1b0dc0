"""Training, with the norm of the scale-invariant weights measured at every step.

A step of SGD with the learning rate η and the weight decay λ is w' = (1 - ηλ) w - η g. A
scale-invariant loss has a gradient g that is orthogonal to w, so

    |w'|² = (1 - ηλ)² |w|² + η² |g|²:

decay pulls the weights inward, the gradient pushes them outward, and nothing else moves the norm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.periodic_behavior.networks import invariant_weights
from okml.training import Losses, Phase, TrainingTask

MEASURED = ("loss", "norm", "step_length", "gradient", "norm_error")  # columns of an epoch


def norm_after(squared_norm: Tensor, squared_gradient: Tensor, rate: float, decay: float) -> Tensor:
    """Return |w|² after a step of SGD, if the gradient is orthogonal to w.

    Args:
        squared_norm: |w|² before the step.
        squared_gradient: |g|², without the part of weight decay.
        rate: The learning rate η.
        decay: The weight decay λ.
    """
    return (1 - rate * decay) ** 2 * squared_norm + rate**2 * squared_gradient


def squared_length(tensors: Iterable[Tensor]) -> Tensor:
    """Return the sum of squares of all elements, in float64."""
    return torch.stack([each.detach().double().square().sum() for each in tensors]).sum()


class DynamicsTask(TrainingTask):
    """SGD with a constant learning rate on the cross-entropy, and the norm's course.

    Args:
        network: The network; weights that need no gradient are not trained.
        rate: The learning rate.
        decay: The weight decay of all trained weights.
        fixed_norm: Whether each step ends on the sphere of the initial norm.
    """

    def __init__(self, network: nn.Module, rate: float, decay: float, fixed_norm: bool) -> None:
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        sgd = torch.optim.SGD(trained, lr=rate, weight_decay=decay)
        super().__init__({"network": network}, {"sgd": sgd}, identity={"fixed_norm": fixed_norm})
        self.rate, self.decay, self.fixed_norm = rate, decay, fixed_norm
        self.invariant = invariant_weights(network)
        self.steps: list[Tensor] = []  # of this epoch: loss, |w|², |g|², |w'|², each [4]

    def phases(self, step: int) -> tuple[Phase]:
        """Return the one update; the norm before it is noted."""
        self._before = squared_length(self.invariant)
        return (Phase(self._loss_of, ("sgd",), "train"),)

    def _loss_of(self, batch: tuple[Tensor, Tensor]) -> Losses:
        images, labels = batch
        loss = functional.cross_entropy(self.modules["network"](images), labels)
        self._loss = loss.detach()
        return {"loss": loss}

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Note the norms of gradient and new weights; hold the norm if it is fixed."""
        gradient = squared_length(w.grad for w in self.invariant if w.grad is not None)
        after = squared_length(self.invariant)
        self.steps.append(torch.stack([self._loss.double(), self._before, gradient, after]))
        if self.fixed_norm:
            factor = (self._before / after).sqrt()
            for weight in self.invariant:
                weight.mul_(factor.to(weight.dtype))

    def evaluate(self) -> Mapping[str, float]:
        """Return the course of the epoch that ends: its means, and the norm at its end."""
        loss, before, gradient, after = torch.stack(self.steps).cpu().unbind(1)  # each [steps]
        self.steps = []
        predicted = norm_after(before, gradient, self.rate, self.decay)
        outward = self.rate**2 * gradient
        inward = before - norm_after(before, torch.zeros(()), self.rate, self.decay)
        found = (
            loss.mean(),
            (before if self.fixed_norm else after)[-1].sqrt(),
            (outward / before).mean().sqrt(),
            gradient.mean().sqrt(),
            ((after - predicted).abs() / (outward + inward)).max(),
        )
        return dict(zip(MEASURED, map(float, found), strict=True))

    def state(self) -> dict[str, Any]:
        """Return the steps of an epoch that has begun."""
        return {"steps": torch.stack(self.steps)} if self.steps else {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the steps of the epoch that goes on."""
        self.steps = list(state["steps"]) if state else []
