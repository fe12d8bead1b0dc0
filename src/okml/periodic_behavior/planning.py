"""The plan of a run of the chapter, from sizes and counts alone."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from okml.periodic_behavior.arms import ARMS, all_jobs
from okml.periodic_behavior.images import CHANNELS
from okml.periodic_behavior.networks import build
from okml.periodic_behavior.settings import PeriodicBehaviorProfile, ProblemSettings
from okml.plan import CPU_WORKERS, Item, Plan, downloads

LOOP_S = 6e-3  # seconds of a step beside its arithmetic: the loop, and kernels that start
FLOPS = {"cpu": 2.2e10, "gpu": 1e13}  # sustained, in float32; one core, one H100


def plan(profile: PeriodicBehaviorProfile) -> Plan:
    """Return memory, disk, data and hours of a run, with their formulas."""
    jobs = all_jobs(profile)
    workers = 1 if profile.for_gpu else CPU_WORKERS
    hours, memory = [], []
    for number, problem in enumerate(profile.problems):
        count = sum(job.problem == problem for job in jobs)
        steps = problem.epochs * -(-problem.examples // problem.batch)
        flops = step_flops(profile, problem)
        seconds = LOOP_S + flops / FLOPS["gpu" if profile.for_gpu else "cpu"]
        hours.append(
            Item.hours(
                f"trainings on {problem.images}, {problem.network} ({number + 1})",
                count * steps * seconds / workers,
                f"{count} trainings · {steps:,} steps · ({LOOP_S:g} s + "
                f"{flops / 1e9:.3g} GFLOP), {workers} at a time",
            )
        )
        memory.append(_memory(profile, problem))
    largest = max(item.value for item in memory)
    names = [problem.images for problem in profile.problems]
    weights = max(_weights(profile, each) for each in profile.problems)
    kept = Item.product(
        "checkpoints and courses", trainings=len(jobs), copies=3, bytes=4, weights=weights
    )
    return Plan.of(
        profile,
        hours=hours,
        device=memory,
        disk=[downloads(names), kept],
        device_gib=largest,
        data=names,
        jobs=len(jobs),
    )


def step_flops(profile: PeriodicBehaviorProfile, problem: ProblemSettings) -> int:
    """Return the floating-point operations of a step, counted on tensors that have shapes alone."""
    images = min(problem.batch, problem.examples), CHANNELS[problem.images], *[problem.side] * 2
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = build(problem, ARMS["all_weights"], profile.last_norm)
        network(torch.empty(images)).sum().backward()
    return int(counter.get_total_flops())


def _weights(profile: PeriodicBehaviorProfile, problem: ProblemSettings) -> int:
    with torch.device("meta"):
        network = build(problem, ARMS["all_weights"], profile.last_norm)
    return sum(weight.numel() for weight in network.parameters())


def _memory(profile: PeriodicBehaviorProfile, problem: ProblemSettings) -> Item:
    """Return the memory of the images, the weights and the activations of a step."""
    pixels = problem.side**2
    images = 4 * problem.examples * CHANNELS[problem.images] * pixels
    layers = 4 if problem.network == "convnet" else 20
    # Three copies of a layer's output: of convolution, normalization and non-linearity.
    activations = 3 * 4 * layers * min(problem.batch, problem.examples) * problem.channels * pixels
    weights = 3 * 4 * _weights(profile, problem)
    what = f"{problem.network} on {problem.images}: images, activations, weights"
    return Item.sum(what, images=2 * images, activations=activations, weights=weights)
