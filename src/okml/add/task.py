"""Adversarial Diffusion Distillation as a task of the one training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn

from okml.add.denoiser import Denoiser
from okml.add.interfaces import Networks
from okml.add.schedule import NoiseSchedule
from okml.add.settings import AddSettings
from okml.training import Phase, TrainingTask


class Distillation(TrainingTask):
    """Trains a student and the discriminator's heads, one after the other in each step.

    ``modules`` are ``student`` (a :class:`Denoiser`) and ``heads``; batches are
    :class:`okml.add.interfaces.Examples`. Run it with :func:`okml.training.fit`; set
    ``ema_decay`` there for the averaged student.

    Args:
        student: From :func:`okml.add.student.make_student`.
        schedule: The student's, ``NoiseSchedule.from_scheduler(scheduler, settings.terminal_snr)``.
        networks: All that is not trained.
        settings: What to do.
        text_width: Width of c_text; 0 if batches carry none.
        image_width: Width of c_img; 0 if there is none.
        evaluate: ``evaluate(student)``: metrics by name.
        identity: See :class:`okml.training.TrainingTask`.
    """

    def __init__(
        self,
        student: Denoiser,
        schedule: NoiseSchedule,
        networks: Networks,
        settings: AddSettings,
        *,
        text_width: int = 0,
        image_width: int = 0,
        evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        raise NotImplementedError

    def phases(self, step: int) -> Iterable[Phase]:
        """Return ``heads`` then ``student``, or the other way round with ``shared_fakes``."""
        raise NotImplementedError
