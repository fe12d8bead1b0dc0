"""Samples to look at: the same noise under every network, a walk between two noises, failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import torch
from torch import Tensor

from okml.add.study import Study
from okml.add.workbench import Requests, Workbench
from okml.steps import StepResult

COLUMNS = 10  # pictures of a row
WALK = 9  # pictures between two noises
FAILURES = 10


def draw_pictures(study: Study) -> StepResult:
    """Draw everything that the figures show, with the first seed."""
    result, grid, walk, failures = StepResult(), [], [], []
    seed = study.profile.seeds[0]
    for settings in study.profile.sets:
        bench = study.workbench(settings)
        grid += _same_noise(bench, seed)
        walk += _walk(bench, seed)
        failures += _failures(bench, seed)
    result.frames |= {
        "same_noise": pl.DataFrame(grid),
        "walk": pl.DataFrame(walk),
        "failures": pl.DataFrame(failures),
    }
    return result


def _same_noise(bench: Workbench, seed: int) -> list[dict[str, Any]]:
    """Return a row of pictures for each network and number of steps."""
    requests = _first(bench.requests(seed), COLUMNS)
    rows = []
    for steps in bench.settings.teacher_steps:
        samples = bench.draw_with_teacher(requests, steps)
        rows += _pictures(bench, f"teacher, {steps}", samples, requests.captions)
    student = bench.distil("default", seed).denoiser
    for steps in bench.profile.student_steps:
        samples = bench.draw(student, requests, steps)
        rows += _pictures(bench, f"student, {steps}", samples, requests.captions)
    if "consistency" in bench.settings.alternatives:
        samples = bench.draw(bench.consistency(seed).denoiser, requests, 1)
        rows += _pictures(bench, "consistency, 1", samples, requests.captions)
    if "progressive" in bench.settings.alternatives:
        network = bench.progressive(seed, 1).denoiser
        samples = bench.draw_with_teacher(requests, 1, "ddim", network)
        rows += _pictures(bench, "progressive, 1", samples, requests.captions)
    return rows


def _walk(bench: Workbench, seed: int) -> list[dict[str, Any]]:
    """Return one prompt drawn from noises between two noises."""
    requests = _first(bench.requests(seed), COLUMNS)
    share = torch.linspace(0, 1, WALK).reshape(-1, 1, 1, 1)
    noise = spherical(requests.noise[:1], requests.noise[1:2], share)
    told = requests.prompts[3:4].expand(WALK, -1)
    captions = (requests.captions[3],) * WALK
    between = Requests(noise, requests.labels[3:4].expand(WALK), told, captions)
    student = bench.distil("default", seed).denoiser
    return [
        *_pictures(bench, "student, 1", bench.draw(student, between, 1), captions),
        *_pictures(bench, "teacher, 25", bench.draw_with_teacher(between, 25), captions),
    ]


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


def _failures(bench: Workbench, seed: int) -> list[dict[str, Any]]:
    """Return the one-step samples whose class the metric network is least sure of."""
    requests = bench.requests(seed)
    samples = bench.draw(bench.distil("default", seed).denoiser, requests, 1).clamp(-1, 1)
    with torch.no_grad():
        chances = bench.metric(samples).softmax(1)
    asked = chances[torch.arange(len(samples)), requests.labels]
    worst = asked.argsort()[:FAILURES]
    read = [bench.images.classes[label] for label in chances[worst].argmax(1)]
    captions = tuple(
        f"{requests.captions[number]} → {name}"
        for number, name in zip(worst.tolist(), read, strict=True)
    )
    return _pictures(bench, "student, 1", samples[worst], captions)


def _first(requests: Requests, count: int) -> Requests:
    return Requests(
        requests.noise[:count],
        requests.labels[:count],
        requests.prompts[:count],
        requests.captions[:count],
    )


def _pictures(
    bench: Workbench, row: str, samples: Tensor, captions: Sequence[str]
) -> list[dict[str, Any]]:
    samples = samples.clamp(-1, 1)
    return [
        {
            "set": bench.images.name,
            "row": row,
            "column": column,
            "caption": captions[column],
            "shape": list(samples.shape[1:]),
            "pixels": samples[column].flatten().tolist(),
        }
        for column in range(len(samples))
    ]
