"""The speed of generation from the caption to pixels, in batches and one image at a time."""

from __future__ import annotations

import polars as pl

from okml.add.latency import measure_latency
from okml.add.sampling import student_sampler, teacher_sampler
from okml.add.small.unet import CONDITION
from okml.add.study import Study
from okml.steps import StepResult


def measure_speed(study: Study) -> StepResult:
    """Time the student at each number of steps beside its teacher, text and decoding included."""
    profile, bench = study.profile, study.main
    seed, speed = profile.seeds[0], profile.speed
    student, guided = bench.student("default", seed).denoiser, bench.guided(seed)
    samplers = {
        "student": {n: student_sampler(student, bench.schedule, n) for n in profile.student_steps},
        "teacher, DDIM": {
            n: teacher_sampler(guided, bench.scheduler, n) for n in speed.teacher_steps
        },
    }
    rows = []
    for batch in (1, speed.batch):
        asked = bench.requests(seed, batch)
        for network, by_steps in samplers.items():
            table = measure_latency(
                by_steps,
                bench.codec,
                lambda: {CONDITION: bench.embed(asked.captions).to(bench.device)},  # noqa: B023
                asked.noise.shape,
                bench.device,
                warmup=1,
                repeats=speed.repeats,
            )
            rows += [
                {
                    "network": network,
                    "steps": row.steps,
                    "batch": batch,
                    "ms an image": row.total / batch,
                    "of which text": row.prompt / batch,
                    "decoding": row.decoding / batch,
                    "images a second": 1000 * batch / row.total,
                }
                for row in table.rows
            ]
    frame = pl.DataFrame(rows)
    result = StepResult(frames={"speed": frame})
    at_batch = frame.filter(batch=speed.batch)
    fastest = float(at_batch.filter(network="student", steps=1)["images a second"][0])
    slowest = float(at_batch.filter(network="teacher, DDIM", steps=50)["images a second"][0])
    result.log("speedup_one_step", fastest / slowest)
    return result
