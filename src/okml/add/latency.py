"""Time and memory of text to image, as the digest reports them: a picture in 1 to 4 steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from okml.accelerator import peak_reserved_bytes, reset_peak, synchronize
from okml.add.interfaces import Codec, Condition
from okml.add.sampling import Sampler
from okml.runtime import GIB


@dataclass(frozen=True)
class Latency:
    """Medians in milliseconds for one batch of images.

    Attributes:
        steps: The number of steps.
        prompt: The time to encode the prompt.
        denoising: The time of all calls of the network.
        decoding: The time from latents to pixels.
        total: The time from prompt to pixels, measured as a whole.
        rounds: The total of each round.
    """

    steps: int
    prompt: float
    denoising: float
    decoding: float
    total: float
    rounds: tuple[float, ...] = ()


@dataclass(frozen=True)
class LatencyTable:
    """One row for each number of steps, and their memory.

    Attributes:
        rows: The latency of each number of steps, in the order of the samplers.
        reserved_gib: The memory that the allocator took from the driver in each round: what the
            driver's tool shows, less the context; NaN on a CPU.
    """

    rows: tuple[Latency, ...]
    reserved_gib: tuple[float, ...]


@torch.no_grad()
def measure_latency(
    samplers: Mapping[int, Sampler],
    codec: Codec,
    encode_prompt: Callable[[], Condition],
    latent_shape: Sequence[int],
    device: torch.device,
    warmup: int = 3,
    repeats: int = 20,
) -> LatencyTable:
    """Time one batch from prompt to pixels, each round with every number of steps in turn.

    Args:
        samplers: The sampler of each number of steps that is measured.
        codec: The codec of the latents.
        encode_prompt: A function that runs the text towers and returns the condition.
        latent_shape: The shape ``(B, c, h, w)`` of the latents.
        device: The device of all networks.
        warmup: The number of untimed rounds.
        repeats: The number of timed rounds, of which the medians are returned.
    """
    noise = torch.randn(tuple(latent_shape), device=device)
    generator = torch.Generator(device).manual_seed(0)

    def draw(count: int) -> list[float]:
        """Return the times after prompt, denoising and decoding, in ms from the start."""
        marks = [now(device)]
        condition = encode_prompt()
        marks.append(now(device))
        latents = samplers[count](noise, condition, generator)
        marks.append(now(device))
        codec.decode(latents)
        marks.append(now(device))
        return [1000 * (mark - marks[0]) for mark in marks[1:]]

    times: dict[int, list[list[float]]] = {count: [] for count in samplers}
    memory = []
    for number in range(warmup + repeats):
        reset_peak(device)
        for count in samplers:
            taken = draw(count)
            if number >= warmup:
                times[count].append(taken)
        if number >= warmup:
            reserved = peak_reserved_bytes(device)
            memory.append(float("nan") if reserved is None else reserved / GIB)
    rows = [_medians(count, rounds) for count, rounds in times.items()]
    return LatencyTable(tuple(rows), tuple(memory))


def _medians(steps: int, rounds: list[list[float]]) -> Latency:
    prompt = statistics.median(round_[0] for round_ in rounds)
    denoising = statistics.median(round_[1] - round_[0] for round_ in rounds)
    decoding = statistics.median(round_[2] - round_[1] for round_ in rounds)
    totals = tuple(round_[2] for round_ in rounds)
    return Latency(steps, prompt, denoising, decoding, statistics.median(totals), totals)


def now(device: torch.device) -> float:
    """Return the seconds of a clock, after all work of a GPU is done."""
    synchronize(device)
    return time.perf_counter()
