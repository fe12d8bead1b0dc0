"""Samples to look at: the same noise under every network, a walk between two noises, failures."""

from __future__ import annotations

import polars as pl
import torch
from torch import Tensor

from okml.add.arms import ALTERNATIVES, method_jobs
from okml.add.figures.images import frame
from okml.add.study import Study
from okml.add.workbench import Requests, Workbench
from okml.steps import StepResult

COLUMNS = 10  # pictures of a row
SEEDS = 3  # largest number of seeds on the slider
WALK = 9  # pictures between two noises
FAILURES = 10


def draw_pictures(study: Study) -> StepResult:
    """Draw everything that the figures show: the same noise with several seeds, else the first."""
    drawn = {"same_noise": _same_noise, "walk": _walk, "failures": _failures}
    seed, benches = study.profile.seeds[0], map(study.workbench, study.profile.sets)
    parts = [{name: draw(bench, seed) for name, draw in drawn.items()} for bench in benches]
    return StepResult(frames={name: pl.concat([part[name] for part in parts]) for name in drawn})


def _same_noise(bench: Workbench, _: int) -> pl.DataFrame:
    """Return a row of pictures for each seed, network and number of steps."""
    seeds = bench.profile.seeds_of(bench.settings)[:SEEDS]
    return pl.concat(
        [_of_seed(bench, seed).with_columns(pl.lit(seed).alias("seed")) for seed in seeds]
    )


def _of_seed(bench: Workbench, seed: int) -> pl.DataFrame:
    shown = columns(bench)
    requests = _taken(bench.requests(seed), shown)
    rows = {
        f"teacher, {steps}": bench.draw_with_teacher(requests, steps)
        for steps in bench.settings.teacher_steps
    }
    student = bench.student("default", seed).denoiser
    for steps in bench.profile.student_steps:
        rows[f"student, {steps}"] = bench.draw(student, requests, steps)
    for job in method_jobs(bench.profile):
        own = job.settings == bench.settings and job.seed == seed and job.steps == 1
        if own and job.what in ALTERNATIVES:
            rows[f"{job.what}, 1"] = bench.sample(job.what, 1, seed)[shown]
    return frame(rows, requests.captions, bench.images.name)


def _walk(bench: Workbench, seed: int) -> pl.DataFrame:
    """Return one prompt drawn from noises between two noises."""
    requests = _taken(bench.requests(seed), columns(bench))
    share = torch.linspace(0, 1, WALK).reshape(-1, 1, 1, 1)
    noise = spherical(requests.noise[:1], requests.noise[1:2], share)
    told = requests.prompts[3:4].expand(WALK, -1)
    captions = (requests.captions[3],) * WALK
    between = Requests(noise, requests.labels[3:4].expand(WALK), told, captions, seed)
    student = bench.student("default", seed).denoiser
    rows = {
        "student, 1": bench.draw(student, between, 1),
        "teacher, 25": bench.draw_with_teacher(between, 25),
    }
    return frame(rows, captions, bench.images.name)


def spherical(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Return noises on the great circle between two, so that all have the size of noise.

    Args:
        one: ``[1, c, s, s]``, at share 0.
        other: ``[1, c, s, s]``, at share 1.
        share: ``[n, 1, 1, 1]``.
    """
    cosine = torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0)
    angle = torch.acos(cosine)
    return (torch.sin((1 - share) * angle) * one + torch.sin(share * angle) * other) / angle.sin()


def _failures(bench: Workbench, seed: int) -> pl.DataFrame:
    """Return the one-step samples whose class the metric network is least sure of."""
    requests = bench.requests(seed)
    samples = bench.draw(bench.student("default", seed).denoiser, requests, 1).clamp(-1, 1)
    with torch.no_grad():
        chances = bench.metric(samples.to(bench.device)).softmax(1).cpu()
    asked = chances[torch.arange(len(samples)), requests.labels]
    worst = asked.argsort()[:FAILURES]
    read = [bench.images.classes[label] for label in chances[worst].argmax(1)]
    captions = tuple(
        f"{requests.captions[number]} → {name}"
        for number, name in zip(worst.tolist(), read, strict=True)
    )
    return frame({"student, 1": samples[worst]}, captions, bench.images.name)


def columns(bench: Workbench) -> Tensor:
    """Return the numbers of the requests that are shown, at most ``COLUMNS`` of them.

    The first ones are of one class each. Free captions come in the order of their file, in which
    neighbours are alike, so those are taken at equal distances.
    """
    known = len(bench.images.test) if bench.free_captions else COLUMNS
    count = min(known, bench.settings.samples)
    return torch.arange(0, count, max(1, count // COLUMNS))[:COLUMNS]


def _taken(requests: Requests, rows: Tensor) -> Requests:
    return Requests(
        requests.noise[rows],
        requests.labels[rows],
        requests.prompts[rows],
        tuple(requests.captions[row] for row in rows),
        requests.seed,
    )
