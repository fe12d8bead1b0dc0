"""Looks behind the numbers: prompts ignored, inputs of sampling, nearest training images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from okml.add.comparison import Floats, prefix
from okml.add.figures.images import frame
from okml.add.images import Images
from okml.add.quality import nearest
from okml.add.study import Study
from okml.add.workbench import Requests, Workbench
from okml.ledger import estimate_mean, estimate_statistic
from okml.ledger.intervals import Ints
from okml.steps import StepResult

# What the student is told, and its accuracy by what was asked.
TOLD = {
    "the prompt": "student_accuracy",
    "nothing": "untold_accuracy",
    "another class": "misled_accuracy",
}
REAL, OWN = "unseen real image", "its own sample"
COMPARED = 8  # samples shown beside their nearest training image


def measure_prompts(study: Study) -> StepResult:
    """Ask the one-step student for one thing and judge it by another."""
    result, rows = StepResult(), []
    for settings in study.profile.sets:
        bench, kind = study.workbench(settings), prefix(study.profile, settings)
        right: dict[str, dict[int, Floats]] = {metric: {} for metric in TOLD.values()}
        for seed in study.profile.seeds_of(settings):
            student = bench.student("default", seed).denoiser
            requests = bench.requests(seed)
            for told, asked in _tellings(requests).items():
                drawn = bench.draw(student, asked, 1)
                judged = bench.judge(drawn, requests.labels, requests.prompts)
                right[TOLD[told]][seed] = judged.right
                rows.append(
                    {
                        "set": bench.images.name,
                        "told": told,
                        "seed": seed,
                        "accuracy": judged.quality.accuracy,
                        "alignment": judged.quality.alignment,
                        "FD": judged.quality.fd,
                    }
                )
        sampled = _sampled(bench)
        for metric, values in right.items():
            result.measure(kind + metric, estimate_mean(values, **sampled))
    result.frames["prompts"] = pl.DataFrame(rows)
    result.log("chance_accuracy", 1 / len(study.main.images.classes), exact=True)
    return result


def _sampled(bench: Workbench) -> dict[str, Any]:
    """Return the units of intervals: images, or the captions of which several images are drawn."""
    if bench.free_captions:
        return {"over": "captions", "clusters": bench.blocks}
    return {"over": "images"}


def _tellings(requests: Requests) -> dict[str, Requests]:
    """Return the requests as they are, without prompts, and with prompts of other classes."""
    draws, labels = torch.Generator().manual_seed(requests.seed), requests.labels
    others = torch.empty_like(labels)
    for label in torch.unique(labels):
        asked, elsewhere = labels == label, torch.nonzero(labels != label).flatten()
        drawn = torch.randint(len(elsewhere), (int(asked.sum()),), generator=draws)
        others[asked] = elsewhere[drawn]
    return {
        "the prompt": requests,
        "nothing": replace(requests, prompts=torch.zeros_like(requests.prompts)),
        "another class": replace(requests, prompts=requests.prompts[others]),
    }


def measure_inputs(study: Study) -> StepResult:
    """Give the student, at each of its timesteps, noised real images and what it samples itself.

    It was trained on the first; in several steps it is sampled on the second.
    """
    result, rows = StepResult(), []
    for settings in study.profile.sets:
        bench, seeds = study.workbench(settings), study.profile.seeds_of(settings)
        features: dict[int, dict[str, Tensor]] = {}  # seed, input: features at the lowest timestep
        for seed in seeds:
            of_seed, features[seed] = _inputs(bench, seed)
            rows += of_seed

        def own_over_real(chosen: Ints, seed: int) -> float:
            own, real = (features[seed][name][chosen] for name in (OWN, REAL))  # noqa: B023
            return bench.judge.distance(own) / bench.judge.distance(real)  # noqa: B023

        found = estimate_statistic(own_over_real, len(_seen(bench)), "images", seeds=seeds)
        result.measure(prefix(study.profile, settings) + "own_input_fd_ratio", found)
    result.frames["inputs"] = pl.DataFrame(rows)
    return result


def _seen(bench: Workbench) -> Images:
    """Return unseen real images, as many as there are samples where the test has them."""
    test = bench.images.test
    return test.take(np.arange(min(len(test), bench.settings.samples)))


@torch.no_grad()
def _inputs(bench: Workbench, seed: int) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """Return rows of all timesteps but the last, and the features at the lowest.

    The student's own sample goes down the timesteps as in :func:`sample_student`: what it estimates
    at one is noised to the next. Real images are noised to each with the same noise.
    """
    test = _seen(bench)
    draws = torch.Generator().manual_seed(seed)
    shape = bench.codec.encode(test.pixels).shape
    noise = torch.randn(shape, generator=draws)
    prompts = bench.test_prompts[: len(test)]
    requests = Requests(noise, test.labels, prompts, test.captions, seed)
    student = bench.student("default", seed).denoiser
    sampled = bench.draw(student, requests, 1)
    rows: list[dict[str, Any]] = []
    features: dict[str, Tensor] = {}
    for timestep in reversed(bench.settings.add.student_timesteps[:-1]):
        fresh = torch.randn(shape, generator=draws)
        real, sampled = (
            bench.denoise(student, clean, fresh, timestep, requests.prompts)
            for clean in (test.pixels, sampled)
        )
        for name, images in ((REAL, real), (OWN, sampled)):
            judged = bench.judge(images, requests.labels, requests.prompts)
            features[name] = judged.features
            rows.append(
                {
                    "set": bench.images.name,
                    "timestep": timestep,
                    "input": name,
                    "seed": seed,
                    "FD": judged.quality.fd,
                }
            )
    return rows, features


def measure_memory(study: Study) -> StepResult:
    """Compare samples with their nearest training images."""
    result, distances, pairs = StepResult(), [], []
    seed = study.profile.seeds[0]
    for settings in study.profile.sets:
        bench = study.workbench(settings)
        requests = bench.requests(seed)
        samples = bench.draw(bench.student("default", seed).denoiser, requests, 1).clamp(-1, 1)
        teacher = bench.draw_with_teacher(requests, 25).clamp(-1, 1)
        sets = {
            "unseen real images": bench.images.test.pixels[: len(samples)],
            "student, 1 step": samples,
            "teacher, 25 steps": teacher,
        }
        for name, images in sets.items():
            found, rows = nearest(images, bench.judge.training)
            distances += [
                {"set": bench.images.name, "images": name, "distance": float(value)}
                for value in found
            ]
            if name.startswith("student"):
                pairs.append(_pairs(bench, images, found, rows))
    result.frames |= {"distances": pl.DataFrame(distances), "pairs": pl.concat(pairs)}
    return result


def _pairs(bench: Workbench, images: Tensor, distance: Tensor, rows: Tensor) -> pl.DataFrame:
    """Return the samples that are nearest to a training image, beside it."""
    closest = distance.argsort()[:COMPARED]
    pairs = {
        "student, 1 step": images[closest],
        "nearest training image": bench.images.train.pixels[rows[closest]],
    }
    captions = [f"{value:.2f}" for value in distance[closest].tolist()]
    return frame(pairs, captions, bench.images.name)
