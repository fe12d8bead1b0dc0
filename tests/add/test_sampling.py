"""Samplers against diffusers' schedulers and closed forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from okml.add.sampling import sample_student, sample_teacher
from okml.add.schedule import NoiseSchedule
from okml.add.target import guided
from okml.errors import ParameterError
from tests.add import tiny
from tests.add.tiny import generator, scheduler

LABELS = {"class_labels": torch.tensor([0, 1, 2, 0])}
NULL = {"class_labels": torch.tensor([tiny.NULL])}


@pytest.fixture(scope="module")
def network() -> tiny.Recorder:
    return tiny.Recorder(tiny.unet().eval())


def noise(seed: int = 0) -> Tensor:
    return torch.randn(4, 1, tiny.SIDE, tiny.SIDE, generator=generator(seed))


class Knows(tiny.Denoiser):
    """Predicts the noise of one image."""

    def __init__(self, image: Tensor, schedule: NoiseSchedule) -> None:
        super().__init__(tiny.unet())
        self.image, self.schedule = image, schedule

    def forward(self, noisy: Tensor, timestep: Tensor, condition: Any) -> Tensor:
        alpha, sigma = self.schedule.coefficients(timestep, noisy)
        return (noisy - alpha * self.image) / sigma


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("terminal", ["native", "noise_only"])
def test_a_perfect_student_draws_its_image(steps: int, terminal: str) -> None:
    schedule = NoiseSchedule.from_scheduler(scheduler(), terminal)
    image = tiny.examples(1).images
    found = sample_student(Knows(image, schedule), schedule, noise(), LABELS, steps)
    torch.testing.assert_close(found, image.expand(4, -1, -1, -1), atol=1e-3, rtol=1e-3)


def test_the_student_is_asked_at_its_timesteps(network: tiny.Recorder) -> None:
    network.calls.clear()
    schedule = NoiseSchedule.from_scheduler(scheduler(), "noise_only")
    sample_student(network, schedule, noise(), LABELS, 3)
    assert [int(t[0]) for _, t, _ in network.calls] == [999, 666, 332]
    assert torch.equal(network.calls[0][0], noise())


def test_renoise_is_the_forward_process_of_the_estimate(network: tiny.Recorder) -> None:
    schedule = NoiseSchedule.from_scheduler(scheduler(), "noise_only")
    network.calls.clear()
    sample_student(network, schedule, noise(), LABELS, 2, generator=generator(3))
    at = torch.full((4,), 999)
    first = sample_student(network, schedule, noise(), LABELS, 1)
    fresh = torch.randn(noise().shape, generator=generator(3))
    expected = schedule.add_noise(first, fresh, at - 500)
    torch.testing.assert_close(network.calls[1][0], expected)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_teacher_samplers_are_diffusers_own(network: tiny.Recorder, prediction: str) -> None:
    made = scheduler(prediction)
    options = {"timestep_spacing": "trailing"}
    peers = {
        "ddim": DDIMScheduler.from_config(made.config, clip_sample=False, **options),
        "dpm_solver++": DPMSolverMultistepScheduler.from_config(made.config, **options),
    }
    for name, peer in peers.items():
        found = sample_teacher(network, made, noise(), LABELS, 5, name)
        peer.set_timesteps(5)
        x = noise()
        for t in peer.timesteps:
            with torch.no_grad():
                x = peer.step(network(x, t.expand(4), LABELS), t, x).prev_sample
        torch.testing.assert_close(found, x)


@pytest.mark.parametrize("sampler", ["ddim", "dpm_solver++"])
@pytest.mark.parametrize("steps", [1, 4, 25])
def test_a_perfect_teacher_draws_its_image(sampler: str, steps: int) -> None:
    schedule = NoiseSchedule.from_scheduler(scheduler())
    image = tiny.examples(1).images
    found = sample_teacher(Knows(image, schedule), scheduler(), noise(), LABELS, steps, sampler)
    torch.testing.assert_close(found, image.expand(4, -1, -1, -1), atol=1e-2, rtol=1e-2)


def test_guidance_by_hand(network: tiny.Recorder) -> None:
    at = torch.full((4,), 500)
    empty = {"class_labels": torch.full((4,), tiny.NULL)}
    with torch.no_grad():
        told, untold = (network(noise(), at, condition) for condition in (LABELS, empty))
        found = guided(network, noise(), at, LABELS, 3.0, NULL)
        plain = guided(network, noise(), at, LABELS, 1.0, None)
    torch.testing.assert_close(found, untold + 3 * (told - untold), atol=1e-5, rtol=1e-4)
    assert torch.equal(plain, told)


def test_guidance_needs_the_empty_condition(network: tiny.Recorder) -> None:
    with pytest.raises(ParameterError, match="null_condition"):
        guided(network, noise(), torch.full((4,), 500), LABELS, 2.0, None)
