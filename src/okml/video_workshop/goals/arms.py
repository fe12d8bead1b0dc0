"""Parts of experiments, one for each seed, stored on disk and run in parallel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from okml.steps import StepResult, Steps
from okml.training.ahead import side_by_side
from okml.video_workshop.study import Study

LOG, ROLLOUT, HELD_OUT, TRAFFIC = 0, 1, 2, 3  # random streams of a seed in the simulator


@dataclass(frozen=True)
class Part:
    """The part of an experiment with one seed.

    Attributes:
        name: Name of the experiment.
        compute: Function of a module, so that it can be pickled.
        seed: Random seed of the part.
    """

    name: str
    compute: Callable[[Study, int], StepResult]
    seed: int


def carry_out(study: Study, part: Part) -> StepResult:
    """Return the result of a part; a finished one is loaded from the folder of the run."""
    steps = Steps(study.profile, study.run_dir / "parts", str(study.device))
    return steps(f"{part.name} {part.seed}", part.compute, study, part.seed)


def carry_out_ahead(study: Study, parts: Sequence[Part]) -> None:
    """Run parts in worker processes, as many at a time as there are cores."""
    prepare = partial(Study, study.profile, study.run_dir)
    side_by_side(prepare, carry_out, (parts,), study.device)


def joined(parts: Sequence[StepResult]) -> StepResult:
    """Return the results of all seeds as one."""
    result = StepResult()
    for part in parts:
        result.take(part)
    for name in parts[0].frames:
        result.frames[name] = pl.concat([part.frames[name] for part in parts])
    return result
