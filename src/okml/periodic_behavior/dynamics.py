"""Training, with norm and angle of the scale-invariant weights measured at every step.

A step of SGD with the learning rate η and the weight decay λ is w' = (1 - ηλ) w - η g. A
scale-invariant loss has a gradient g that is orthogonal to w, so

    |w'|² = (1 - ηλ)² |w|² + η² |g|²:

decay pulls the weights inward, the gradient pushes them outward, and nothing else moves the norm.
The triangle has a right angle, so the weights turn by the θ with tan θ = η |g| / ((1 - ηλ) |w|).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.periodic_behavior.networks import invariant_weights
from okml.training import Losses, Phase, TrainingTask

MEASURED = ("loss", "norm", "angle", "norm_error")  # columns of an epoch


def norm_after(squared_norm: Tensor, squared_gradient: Tensor, rate: float, decay: float) -> Tensor:
    """Return |w|² after a step of SGD, if the gradient is orthogonal to w.

    Args:
        squared_norm: |w|² before the step.
        squared_gradient: |g|², without the part of weight decay.
        rate: The learning rate η.
        decay: The weight decay λ.
    """
    return (1 - rate * decay) ** 2 * squared_norm + rate**2 * squared_gradient


def equilibrium_angle(rate: float, decay: float) -> float:
    """Return the angle of a step of SGD that leaves the norm as it is, in radians.

    There the hypotenuse |w'| is |w|, so cos θ = 1 - ηλ, and θ is √(2ηλ) to first order: the
    angular update of the equilibrium (Wan et al., 2021).
    """
    return math.acos(1 - rate * decay)


def inner(first: Iterable[Tensor], second: Iterable[Tensor]) -> Tensor:
    """Return the inner product, a float64 scalar, of two vectors that are cut into tensors.

    The tensors of both have the same shapes, in the same order.
    """
    pairs = zip(first, second, strict=True)
    return torch.stack([(a.detach().double() * b.detach().double()).sum() for a, b in pairs]).sum()


def angle_between(dot: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return the angle between two vectors from their inner product and squares, in radians.

    The arc tangent keeps the digits of small angles, which a cosine close to 1 does not have.

    Args:
        dot: The inner product, any shape.
        first: The squared norm of one vector, of the same shape.
        second: The squared norm of the other.
    """
    return torch.atan2((first * second - dot**2).clamp(min=0).sqrt(), dot)


class DynamicsTask(TrainingTask):
    """SGD with a constant learning rate on the cross-entropy, and the course of the weights.

    Args:
        network: The network; weights that need no gradient are not trained.
        rate: The learning rate.
        decay: The weight decay of all trained weights.
        fixed_norm: Whether each step ends on the sphere on which the training begins.
    """

    def __init__(self, network: nn.Module, rate: float, decay: float, fixed_norm: bool) -> None:
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        sgd = torch.optim.SGD(trained, lr=rate, weight_decay=decay)
        super().__init__({"network": network}, {"sgd": sgd}, identity={"fixed_norm": fixed_norm})
        self.rate, self.decay, self.fixed_norm = rate, decay, fixed_norm
        self.invariant = invariant_weights(network)
        self.steps: list[Tensor] = []  # this epoch's loss, |w|², |g|², |w'|², θ, each [5]

    def phases(self, step: int) -> tuple[Phase]:
        """Return the one update; the weights before it are noted."""
        self._before = [weight.detach().clone() for weight in self.invariant]
        return (Phase(self._loss_of, ("sgd",), "train"),)

    def _loss_of(self, batch: tuple[Tensor, Tensor]) -> Losses:
        images, labels = batch
        loss = functional.cross_entropy(self.modules["network"](images), labels)
        self._loss = loss.detach()
        return {"loss": loss}

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Note loss, norms and angle; hold the norm if it is fixed."""
        gradients = [weight.grad for weight in self.invariant if weight.grad is not None]
        before, gradient, after = (
            inner(each, each) for each in (self._before, gradients, self.invariant)
        )
        angle = angle_between(inner(self._before, self.invariant), before, after)
        self.steps.append(torch.stack([self._loss.double(), before, gradient, after, angle]))
        if self.fixed_norm:
            for weight in self.invariant:
                weight.mul_((before / after).sqrt().to(weight.dtype))

    def evaluate(self) -> Mapping[str, float]:
        """Return the course of the epoch that ends.

        It is the mean loss, the norm at the end, the root mean square of the angles, and the
        largest difference of a squared norm from its equation, over the sum of the two forces.
        """
        loss, before, gradient, after, angle = torch.stack(self.steps).cpu().unbind(1)  # [steps]
        self.steps = []
        predicted = norm_after(before, gradient, self.rate, self.decay)
        outward = self.rate**2 * gradient
        inward = before - norm_after(before, torch.zeros(()), self.rate, self.decay)
        found = (
            loss.mean(),
            (before if self.fixed_norm else after)[-1].sqrt(),
            angle.square().mean().sqrt(),
            ((after - predicted).abs() / (outward + inward)).max(),
        )
        return dict(zip(MEASURED, map(float, found), strict=True))

    def state(self) -> dict[str, Any]:
        """Return the steps of an epoch that has begun."""
        return {"steps": torch.stack(self.steps)} if self.steps else {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the steps of the epoch that goes on."""
        # A checkpoint is read on the CPU, and later steps are noted where the weights are.
        self.steps = list(state["steps"].to(self.invariant[0].device)) if state else []
