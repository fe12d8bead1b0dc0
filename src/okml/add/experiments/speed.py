"""How fast images come, at a batch and one at a time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import polars as pl
import torch

from okml.add.study import Study
from okml.add.workbench import Requests
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
            drawers["student", steps] = _student(study, student, requests, steps)
        for steps in profile.speed.teacher_steps:
            drawers["teacher, DDIM", steps] = _teacher(study, requests, steps)
        seconds: dict[tuple[str, int], list[float]] = {key: [] for key in drawers}
        for repeat in range(profile.speed.repeats + 1):
            for key, draw in drawers.items():
                taken = _timed(draw, bench.device)
                if repeat:  # the first round warms caches
                    seconds[key].append(taken)
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


def _student(
    study: Study, student: torch.nn.Module, requests: Requests, steps: int
) -> Callable[[], object]:
    return lambda: study.main.draw(student, requests, steps)


def _teacher(study: Study, requests: Requests, steps: int) -> Callable[[], object]:
    return lambda: study.main.draw_with_teacher(requests, steps)


def _timed(draw: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    draw()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
