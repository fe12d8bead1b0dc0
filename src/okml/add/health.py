"""Signs that a distillation goes wrong, and their reports.

Numbers that are not finite stop a run in the training loop, which names the terms: the student's
phase logs the size of its prediction and of the teacher's target besides its losses, so the name
tells whose fault it was. Collapse is slower: the loss looks fine while all noise leads to the same
image (Table 1d, distillation alone), or while the heads cannot tell real from generated.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from okml.add.settings import HealthSettings
from okml.errors import TrainingError

AT_CHANCE = 0.02  # share of the loss at chance within which heads count as beaten


def noise_spread(first: Tensor, second: Tensor, real: Tensor) -> Tensor:
    """Return how far apart two noises lead under the same condition; 0: the same image.

    Args:
        first: The samples from one noise, ``[B, ...]``.
        second: The samples from another noise under the same conditions, ``[B, ...]``.
        real: The real samples, ``[B, ...]``, which set the scale.

    Returns:
        The root mean square difference over that of two independent values with the variance of
        the entries of ``real``.
    """
    difference = (first.float() - second.float()).square().mean()
    return (difference / (2 * real.float().var(correction=0))).sqrt()


@dataclass
class CollapseMonitor:
    """Counts bad checks in a row and reports each kind of collapse once.

    Attributes:
        settings: The thresholds, and what happens after ``patience`` bad checks.
        flat: The number of bad checks in a row of the student's spread.
        beaten: The number of checks in a row with the heads' loss at chance.
        reported: The kinds of collapse that were reported.
    """

    settings: HealthSettings
    flat: int = 0
    beaten: int = 0
    reported: tuple[str, ...] = ()

    def check(self, step: int, spread: float, heads_loss: float | None, heads: int) -> None:
        """Look at one check's numbers.

        Args:
            step: The step of the training.
            spread: The value of :func:`noise_spread`.
            heads_loss: The hinge loss of the heads; None without an adversarial loss.
            heads: The number of heads.

        Raises:
            TrainingError: If the student collapsed and the settings say to stop then.
        """
        self.flat = self.flat + 1 if spread < self.settings.least_spread else 0
        chance = 2 * heads
        at_chance = heads_loss is not None and heads_loss > (1 - AT_CHANCE) * chance
        self.beaten = self.beaten + 1 if at_chance else 0
        if self.flat >= self.settings.patience:
            self._collapsed(step, spread)
        if self.beaten >= self.settings.patience:
            self._report(
                "heads",
                f"At step {step} the heads have been at chance for {self.beaten} checks (loss "
                f"{heads_loss:.2f} of {chance}): the student outruns them. Lower the student's "
                "learning rate or raise the heads' before touching the weight of distillation.",
            )

    def _collapsed(self, step: int, spread: float) -> None:
        message = (
            f"At step {step} the student has made nearly the same image of every noise for "
            f"{self.flat} checks (spread {spread:.3f}, at least {self.settings.least_spread:g} "
            "expected): mode collapse."
        )
        hint = (
            "Distillation alone does this; switch the adversarial loss on, raise the heads' "
            "learning rate, or lower distillation_weight."
        )
        if self.settings.on_collapse == "stop":
            raise TrainingError(message, hint)
        self._report("student", f"{message} {hint}")

    def _report(self, kind: str, message: str) -> None:
        if kind not in self.reported:
            self.reported = (*self.reported, kind)
            warnings.warn(message, UserWarning, stacklevel=2)


def gradient_ratio(at: Tensor, adversarial: Tensor, distillation: Tensor) -> Tensor:
    """Return the norm of one loss's gradient over that of the other's, a scalar.

    Args:
        at: The tensor by which both are differentiated, any shape.
        adversarial: The loss whose gradient is above, a scalar. The graphs of both are kept.
        distillation: The loss whose gradient is below, a scalar.
    """
    one, other = (
        torch.autograd.grad(loss, at, retain_graph=True)[0].float().square().mean().sqrt()
        for loss in (adversarial, distillation)
    )
    return one / other.clamp_min(torch.finfo(torch.float32).tiny)
