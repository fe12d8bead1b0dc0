"""What stops a run early: numbers that are no longer finite, and requests to stop."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from typing import NoReturn

from okml.errors import TrainingError
from okml.lifeline import Listener, followed, leave
from okml.training.checkpoint import CheckpointStore


def check_finite(values: Mapping[str, float], step: int, store: CheckpointStore) -> None:
    """Refuse to go on with a loss or gradient that is NaN or infinite.

    Called before the optimizer steps, so weights stay as the last good step left them.

    Raises:
        TrainingError: Naming the step, all terms that are not finite, and the way back.
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

    A second SIGINT interrupts at once, as usual, except in a process of a larger run, which passes
    one on after another.
    """

    def __init__(self) -> None:
        super().__init__(self._note)
        self.signal: int | None = None

    def _note(self, number: int) -> None:
        if number == self.signal == signal.SIGINT and followed() is None:
            raise KeyboardInterrupt
        self.signal = number

    def leave(self) -> NoReturn:
        """End the program the way the signal asks for; call once a checkpoint is written."""
        assert self.signal is not None
        leave(self.signal)
