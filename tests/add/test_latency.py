"""The table of times, on a clock that is wound by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from okml.add import latency
from okml.add.latency import measure_latency
from okml.add.sampling import Sampler, student_sampler
from okml.add.schedule import NoiseSchedule
from okml.add.small.patches import PatchCodec
from tests.add import tiny

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time in a list of one; whoever works moves it on."""
    time = [0.0]
    monkeypatch.setattr(latency, "now", lambda device: time[0])
    return time


def as_it_is(count: int, sample: Sampler) -> Sampler:
    return sample


def measured(
    clock: list[float],
    steps: tuple[int, ...],
    note: Callable[[int, Sampler], Sampler] = as_it_is,
) -> latency.LatencyTable:
    schedule = NoiseSchedule.from_scheduler(tiny.scheduler(), "noise_only")

    class Slow(tiny.Denoiser):
        def forward(self, noisy: Tensor, timestep: Tensor, condition: Any) -> Tensor:
            clock[0] += 0.067
            return noisy

    class Decoder(PatchCodec):
        def decode(self, latents: Tensor) -> Tensor:
            clock[0] += 0.090
            return latents

    def prompt() -> dict[str, Tensor]:
        clock[0] += 0.050
        return {}

    student = Slow(tiny.unet())
    samplers = {count: student_sampler(student, schedule, count) for count in steps}
    samplers = {count: note(count, sample) for count, sample in samplers.items()}
    return measure_latency(samplers, Decoder(), prompt, (1, 1, 8, 8), CPU, 1, 3)


def test_parts_of_the_vendors_times(clock: list[float]) -> None:
    """207 ms for one step and 67 ms for each further one."""
    table = measured(clock, (1, 2, 4))
    assert [row.steps for row in table.rows] == [1, 2, 4]
    for row in table.rows:
        assert row.prompt == pytest.approx(50)
        assert row.decoding == pytest.approx(90)
        assert row.denoising == pytest.approx(67 * row.steps)
        assert row.total == pytest.approx(140 + 67 * row.steps)
    assert all(math.isnan(value) for value in table.reserved_gib)
    assert len(table.reserved_gib) == 3


def test_every_round_has_every_number_of_steps(clock: list[float]) -> None:
    """A slow moment of the machine is in the same round of all rows."""
    asked: list[int] = []

    def slower(count: int, sample: Sampler) -> Sampler:
        def slow(*given: Any) -> Tensor:
            asked.append(count)
            clock[0] += len(asked)  # slower and slower
            return sample(*given)

        return slow

    table = measured(clock, (1, 4), slower)
    assert asked == [1, 4] * 4
    for number, row in enumerate(table.rows):
        own = [207 + 67 * (row.steps - 1) + 1000 * call for call in (3, 5, 7)]
        assert row.rounds == pytest.approx([taken + 1000 * number for taken in own])
        assert row.total == pytest.approx(row.rounds[1])
