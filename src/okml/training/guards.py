"""What stops a run early: numbers that are no longer finite, and requests to stop."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Mapping
from types import FrameType
from typing import Any, Self

from okml.errors import TrainingError
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


class StopRequest:
    """Turns SIGTERM and SIGINT into a flag that the loop reads between steps.

    A second SIGINT interrupts at once, as usual. Outside the main thread, where Python allows no
    handlers, nothing is caught.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number

    def leave(self) -> None:
        """End the program the way the signal asks for; call once a checkpoint is written."""
        if self.signal == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt
