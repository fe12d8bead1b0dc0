"""How fast images come, at a batch and one at a time."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import polars as pl

from okml.add.latency import now
from okml.add.study import Study
from okml.steps import StepResult


def measure_speed(study: Study) -> StepResult:
    """Time the student at each number of steps beside its teacher, in turns."""
    profile, bench = study.profile, study.main
    student = bench.distil("default", profile.seeds[0]).denoiser
    rows = []
    for batch in (1, profile.speed.batch):
        requests = bench.requests(profile.seeds[0], batch)
        drawers: dict[tuple[str, int], Callable[[], object]] = {}
        for steps in profile.student_steps:
            drawers["student", steps] = partial(bench.draw, student, requests, steps)
        for steps in profile.speed.teacher_steps:
            drawers["teacher, DDIM", steps] = partial(bench.draw_with_teacher, requests, steps)
        seconds: dict[tuple[str, int], list[float]] = {key: [] for key in drawers}
        for repeat in range(profile.speed.repeats + 1):
            for key, draw in drawers.items():
                started = now(bench.device)
                draw()
                if repeat:  # the first round warms caches
                    seconds[key].append(now(bench.device) - started)
        for (network, steps), values in seconds.items():
            middle = statistics.median(values)
            rows.append(
                {
                    "network": network,
                    "steps": steps,
                    "batch": batch,
                    "ms an image": 1000 * middle / batch,
                    "images a second": batch / middle,
                }
            )
    frame = pl.DataFrame(rows)
    result = StepResult(frames={"speed": frame})
    at_batch = frame.filter(batch=profile.speed.batch)
    fastest = float(at_batch.filter(network="student", steps=1)["images a second"][0])
    slowest = float(at_batch.filter(network="teacher, DDIM", steps=50)["images a second"][0])
    result.log("speedup_one_step", fastest / slowest)
    return result
