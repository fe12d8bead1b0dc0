"""The computations of the theme: an experiment with one seed, for all of its arms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from okml.steps import StepResult

LOG, ROLLOUT, HELD_OUT, TRAFFIC = 0, 1, 2, 3  # random streams of a seed in the simulator


@dataclass(frozen=True)
class GoalJob:
    """An experiment with one seed.

    Attributes:
        compute: Function of a module that takes the study and the seed.
    """

    name: str
    compute: Callable[[Any, int], StepResult]
    seed: int
