"""Training, with norm and angle of the scale-invariant weights measured at every step.

A step of SGD with the learning rate η and the weight decay λ is w' = (1 - ηλ) w - η g. A
scale-invariant loss has a gradient g that is orthogonal to w, so

    |w'|² = (1 - ηλ)² |w|² + η² |g|²:

decay pulls the weights inward, the gradient pushes them outward, and nothing else moves the norm.
The triangle has a right angle, so the weights turn by the θ with tan θ = η |g| / ((1 - ηλ) |w|).

In the ConvNet each convolution is normalized by itself, so each of its weight tensors is
scale-invariant by itself and obeys the equation with its own gradient. In the ResNet only all of
them together are: a block adds its output to that of others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.periodic_behavior.networks import invariant_weights
from okml.training import Losses, Phase, TrainingTask

MEASURED = ("loss", "norm", "angle", "norm_error", "layer_error")  # columns of an epoch
LAYER = "norm/"  # prefix of an epoch's columns with the norm of each weight tensor, from 0 on
# What each step leaves as it was: the norm of each weight tensor, or that of all of them together.
Held = Literal["layers", "total"]


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


def inner_by_tensor(first: Iterable[Tensor], second: Iterable[Tensor]) -> Tensor:
    """Return the inner product of each tensor with its counterpart, float64, ``[tensors]``.

    The tensors of both have the same shapes, in the same order.
    """
    pairs = zip(first, second, strict=True)
    return torch.stack([(a.detach().double() * b.detach().double()).sum() for a, b in pairs])


def inner(first: Iterable[Tensor], second: Iterable[Tensor]) -> Tensor:
    """Return the inner product, a float64 scalar, of two vectors that are cut into tensors.

    The tensors of both have the same shapes, in the same order.
    """
    return inner_by_tensor(first, second).sum()


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
        held: What keeps the norm with which the training begins: each weight tensor of a
            convolution, or all of them together; nothing if it is None.
    """

    def __init__(
        self, network: nn.Module, rate: float, decay: float, held: Held | None = None
    ) -> None:
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        sgd = torch.optim.SGD(trained, lr=rate, weight_decay=decay)
        super().__init__({"network": network}, {"sgd": sgd}, identity={"held": held})
        self.rate, self.decay, self.held = rate, decay, held
        self.invariant = invariant_weights(network)
        # This epoch's loss and θ, then of each layer |w|², |g|², and |w'|² before and after it is
        # held; a step is [2 + 4 * layers].
        self.steps: list[Tensor] = []

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
            inner_by_tensor(each, each) for each in (self._before, gradients, self.invariant)
        )
        factor = torch.ones_like(before)
        if self.held == "layers":
            factor = (before / after).sqrt()
        elif self.held == "total":
            factor *= (before.sum() / after.sum()).sqrt()
        if self.held is not None:
            for weight, scale in zip(self.invariant, factor, strict=True):
                weight.mul_(scale.to(weight.dtype))
        end = factor**2 * after
        dot = inner_by_tensor(self._before, self.invariant).sum()
        angle = angle_between(dot, before.sum(), end.sum())
        single = torch.stack([self._loss.double(), angle])
        self.steps.append(torch.cat([single, before, gradient, after, end]))

    def evaluate(self) -> Mapping[str, float]:
        """Return the course of the epoch that ends.

        It is the mean loss, the norm at the end, the root mean square of the angles, the largest
        difference of a squared norm from its equation over the sum of the two forces, the same of
        the norm of a single weight tensor, and the norm of each at the end.
        """
        steps = torch.stack(self.steps).cpu()
        self.steps = []
        loss, angle = steps[:, 0], steps[:, 1]  # [steps]
        before, gradient, after, end = steps[:, 2:].chunk(4, dim=1)  # [steps, layers]
        found = (
            loss.mean(),
            end[-1].sum().sqrt(),
            angle.square().mean().sqrt(),
            self._error(*(each.sum(1) for each in (before, gradient, after))),
            self._error(before, gradient, after),
        )
        layers = {f"{LAYER}{number}": float(norm) for number, norm in enumerate(end[-1].sqrt())}
        return dict(zip(MEASURED, map(float, found), strict=True)) | layers

    def _error(self, before: Tensor, gradient: Tensor, after: Tensor) -> Tensor:
        """Return the largest error of the equation, a scalar, of squares of any one shape."""
        predicted = norm_after(before, gradient, self.rate, self.decay)
        outward = self.rate**2 * gradient
        inward = before - norm_after(before, torch.zeros(()), self.rate, self.decay)
        return ((after - predicted).abs() / (outward + inward)).max()

    def state(self) -> dict[str, Any]:
        """Return the steps of an epoch that has begun."""
        return {"steps": torch.stack(self.steps)} if self.steps else {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the steps of the epoch that goes on."""
        # A checkpoint is read on the CPU, and later steps are noted where the weights are.
        self.steps = list(state["steps"].to(self.invariant[0].device)) if state else []
