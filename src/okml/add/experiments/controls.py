"""What would make the numbers meaningless: ignored prompts and copied images."""

from __future__ import annotations

from typing import Any

import polars as pl
import torch
from torch import Tensor

from okml.add.quality.neighbours import nearest
from okml.add.study import Study
from okml.add.workbench import Requests, Workbench
from okml.steps import StepResult

COMPARED = 8  # samples shown beside their nearest training image


def measure_prompts(study: Study) -> StepResult:
    """Ask the one-step student for one thing and judge it by another."""
    result, rows = StepResult(), []
    for settings in study.profile.sets:
        bench = study.workbench(settings)
        for seed in study.profile.seeds_of(settings):
            student = bench.distil("default", seed).denoiser
            requests = bench.requests(seed)
            for told, asked in _tellings(requests).items():
                samples = bench.draw(student, asked, 1)
                quality = bench.score(samples, requests)
                rows.append(
                    {
                        "set": bench.images.name,
                        "told": told,
                        "seed": seed,
                        "accuracy": quality.accuracy,
                        "FD": quality.fd,
                    }
                )
    frame = pl.DataFrame(rows)
    result.frames["prompts"] = frame
    main = frame.filter(set=study.profile.main.images)
    for seed in study.profile.seeds_of(study.profile.main):
        for told, metric in (("nothing", "untold_accuracy"), ("another prompt", "misled_accuracy")):
            value = float(main.filter(seed=seed, told=told)["accuracy"][0])
            result.log(metric, value, seed=seed)
    classes = len(study.main.images.classes)
    result.log("chance_accuracy", 1 / classes)
    return result


def _tellings(requests: Requests) -> dict[str, Requests]:
    """Return the requests as they are, without prompts, and with the prompts of other rows."""
    order = torch.randperm(len(requests.labels), generator=torch.Generator().manual_seed(0))
    return {
        "the prompt": requests,
        "nothing": _told(requests, torch.zeros_like(requests.prompts)),
        "another prompt": _told(requests, requests.prompts[order]),
    }


def _told(requests: Requests, prompts: Tensor) -> Requests:
    return Requests(requests.noise, requests.labels, prompts, requests.captions)


def measure_inputs(study: Study) -> StepResult:
    """Give the student, at each of its timesteps, noised real images and its own samples noised.

    It was trained on the first and is sampled on the second.
    """
    result, rows = StepResult(), []
    for settings in study.profile.sets:
        bench = study.workbench(settings)
        for seed in study.profile.seeds_of(settings):
            rows += _inputs(bench, seed)
    frame = pl.DataFrame(rows)
    result.frames["inputs"] = frame
    main = frame.filter(set=study.profile.main.images)
    lowest = main.filter(pl.col("timestep") == main["timestep"].min())
    for seed in study.profile.seeds_of(study.profile.main):
        fd = dict(lowest.filter(seed=seed).select("input", "FD").iter_rows())
        result.log("own_input_fd_ratio", fd["its own sample"] / fd["unseen real image"], seed=seed)
    return result


@torch.no_grad()
def _inputs(bench: Workbench, seed: int) -> list[dict[str, Any]]:
    test = bench.images.test
    draws = torch.Generator().manual_seed(seed)
    noise = torch.randn(test.pixels.shape, generator=draws)
    requests = Requests(noise, test.labels, test.prompts(bench.width), test.captions)
    student = bench.distil("default", seed).denoiser
    sources = {"unseen real image": test.pixels, "its own sample": bench.draw(student, requests, 1)}
    rows = []
    for timestep in bench.profile.add.student_timesteps[:-1]:
        fresh = torch.randn(test.pixels.shape, generator=draws)
        for name, clean in sources.items():
            samples = bench.denoise(student, clean, fresh, timestep, requests.prompts)
            rows.append(
                {
                    "set": bench.images.name,
                    "timestep": timestep,
                    "input": name,
                    "seed": seed,
                    "FD": bench.score(samples, requests).fd,
                }
            )
    return rows


def measure_memory(study: Study) -> StepResult:
    """Compare samples with their nearest training images."""
    result, distances, pairs = StepResult(), [], []
    seed = study.profile.seeds[0]
    for settings in study.profile.sets:
        bench = study.workbench(settings)
        train = bench.images.train.pixels
        requests = bench.requests(seed)
        samples = bench.draw(bench.distil("default", seed).denoiser, requests, 1).clamp(-1, 1)
        teacher = bench.draw_with_teacher(requests, 25).clamp(-1, 1)
        sets = {
            "unseen real images": bench.images.test.pixels[: len(samples)],
            "student, 1 step": samples,
            "teacher, 25 steps": teacher,
        }
        for name, images in sets.items():
            found, rows = nearest(images, train)
            distances += [
                {"set": bench.images.name, "images": name, "distance": float(value)}
                for value in found
            ]
            if name.startswith("student"):
                pairs += _pairs(bench, images, found, rows)
    result.frames |= {"distances": pl.DataFrame(distances), "pairs": pl.DataFrame(pairs)}
    return result


def _pairs(
    bench: Workbench, images: Tensor, distance: Tensor, rows: Tensor
) -> list[dict[str, Any]]:
    """Return the samples that are nearest to a training image, beside it."""
    train, closest = bench.images.train.pixels, distance.argsort()[:COMPARED]
    shape = list(train.shape[1:])
    return [
        {
            "set": bench.images.name,
            "row": row,
            "column": column,
            "caption": f"{float(distance[number]):.2f}",
            "shape": shape,
            "pixels": picture.flatten().tolist(),
        }
        for column, number in enumerate(closest.tolist())
        for row, picture in (
            ("student, 1 step", images[number]),
            ("nearest training image", train[rows[number]]),
        )
    ]
