"""Guards that stop a run early: non-finite losses or gradients, and stop signals."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from typing import NoReturn

from okml.errors import TrainingError
from okml.lifeline import Listener, followed, leave
from okml.training.checkpoint import CheckpointStore


def check_finite(values: Mapping[str, float], step: int, store: CheckpointStore) -> None:
    """Stop a training whose loss or gradient is NaN or infinite.

    The loop calls it before the optimizer steps, so the weights remain those of the last step.

    Raises:
        TrainingError: If a value is not finite; it names the step, these terms and the remedy.
    """
    bad = {name: value for name, value in values.items() if not math.isfinite(value)}
    if not bad:
        return
    terms = ", ".join(f"{name} = {value}" for name, value in bad.items())
    saved = store.steps()
    back = (
        f"The last good checkpoint is of step {saved[-1]}; the same call resumes from it."
        if saved
        else "There is no checkpoint yet."
    )
    raise TrainingError(
        f"Training diverged at step {step}: {terms}.",
        f"{back} Lower the learning rate, set gradient_clip, lengthen the warm-up, or use "
        "mixed_precision='no'; look for log or division by zero in the loss and for bad inputs.",
    )


class StopRequest(Listener):
    """Turns SIGTERM, SIGHUP and SIGINT into a flag that the loop reads between steps.

    A second SIGINT interrupts at once, as usual, except in a process that follows a launcher:
    that forwards the same signal repeatedly.
    """

    def __init__(self) -> None:
        super().__init__(self._note)
        self.signal: int | None = None

    def _note(self, number: int) -> None:
        if number == self.signal == signal.SIGINT and followed() is None:
            raise KeyboardInterrupt
        self.signal = number

    def leave(self) -> NoReturn:
        """End the program as the signal requires; call it once a checkpoint is written."""
        assert self.signal is not None
        leave(self.signal)
