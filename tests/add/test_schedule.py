"""Schedules against the table of the public models, and conversions against each other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okml.add.schedule import NoiseSchedule, inference_timesteps
from okml.errors import ParameterError
from tests.add.tiny import scheduler

# SD 1.5, SD 2.1 and SDXL; alpha, sigma.
TABLE = {
    249: (0.82185, 0.56971),
    499: (0.52694, 0.84990),
    699: (0.28832, 0.95753),
    749: (0.23796, 0.97128),
    799: (0.19286, 0.98123),
    899: (0.11958, 0.99282),
    999: (0.06826, 0.99767),
}


def test_table_of_stable_diffusion() -> None:
    schedule = NoiseSchedule.from_scheduler(scheduler())
    steps = torch.tensor(list(TABLE))
    expected = torch.tensor(list(TABLE.values()))
    found = torch.stack([schedule.alpha(steps), schedule.sigma(steps)], 1)
    torch.testing.assert_close(found, expected, atol=6e-6, rtol=0)
    ratio = schedule.sigma(steps[-1:]) / schedule.alpha(steps[-1:])
    assert ratio.item() == pytest.approx(14.6146, abs=1e-3)


@pytest.mark.parametrize("already_rescaled", [False, True])
def test_rescaled_schedule_ends_without_signal(already_rescaled: bool) -> None:
    made = scheduler("v_prediction", zero=already_rescaled)
    schedule = NoiseSchedule.from_scheduler(made, "rescale")
    alpha = schedule.alpha(torch.tensor([249, 499, 749, 998, 999]))
    expected = torch.tensor([0.8088, 0.4923, 0.1821, 0.00044, 0.0])
    torch.testing.assert_close(alpha, expected, atol=6e-5, rtol=0)


def test_noise_prediction_cannot_be_rescaled() -> None:
    with pytest.raises(ParameterError, match="noise_only"):
        NoiseSchedule.from_scheduler(scheduler(), "rescale")


def test_noise_only_gives_pure_noise_at_the_end_alone() -> None:
    clean, noise = torch.randn(2, 1, 3, 3), torch.randn(2, 1, 3, 3)
    ends = torch.tensor([999, 998])
    student = NoiseSchedule.from_scheduler(scheduler(), "noise_only")
    native = NoiseSchedule.from_scheduler(scheduler())
    noisy = student.add_noise(clean, noise, ends)
    assert torch.equal(noisy[0], noise[0])
    torch.testing.assert_close(noisy[1], native.add_noise(clean, noise, ends)[1])
    # Predictions are read as the network was trained.
    assert torch.equal(student.alpha(ends), native.alpha(ends))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@given(timestep=st.integers(0, 999), seed=st.integers(0, 2**16))
def test_a_perfect_prediction_gives_back_sample_and_noise(
    prediction: str, timestep: int, seed: int
) -> None:
    draws = torch.Generator().manual_seed(seed)
    clean, noise = torch.randn(2, 2, 1, 4, 4, generator=draws)
    schedule = NoiseSchedule.from_scheduler(scheduler(prediction))
    at = torch.full((2,), timestep)
    alpha, sigma = schedule.coefficients(at, clean)
    noisy = schedule.add_noise(clean, noise, at)
    output = {"epsilon": noise, "v_prediction": alpha * noise - sigma * clean, "sample": clean}
    found = schedule.to_sample(output[prediction], noisy, at)
    torch.testing.assert_close(found, clean, atol=1e-4, rtol=1e-4)
    found = schedule.to_noise(output[prediction], noisy, at)
    torch.testing.assert_close(found, noise, atol=2e-3, rtol=1e-3)


def test_noise_is_added_as_diffusers_does() -> None:
    made = scheduler()
    clean, noise = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    at = torch.tensor([0, 321, 999])
    found = NoiseSchedule.from_scheduler(made).add_noise(clean, noise, at)
    torch.testing.assert_close(found, made.add_noise(clean, noise, at))


def test_velocity_is_read_as_diffusers_does() -> None:
    from diffusers import DDIMScheduler

    made = DDIMScheduler.from_config(scheduler("v_prediction").config, clip_sample=False)
    made.set_timesteps(10)
    noisy, output = torch.randn(2, 1, 2, 4, 4)
    expected = made.step(output, 500, noisy).pred_original_sample
    schedule = NoiseSchedule.from_scheduler(made)
    found = schedule.to_sample(output, noisy, torch.full((1,), 500))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_arithmetic_stays_in_float32() -> None:
    schedule = NoiseSchedule.from_scheduler(scheduler())
    half = torch.randn(1, 1, 2, 2).bfloat16()
    at = torch.tensor([999])
    with torch.autocast("cpu", torch.bfloat16):
        assert schedule.to_sample(half, half, at).dtype == torch.float32
        assert schedule.add_noise(half, half, at).dtype == torch.float32


def test_inference_timesteps() -> None:
    assert [inference_timesteps(n) for n in (1, 2, 3, 4)] == [
        (999,),
        (999, 499),
        (999, 666, 332),
        (999, 749, 499, 249),
    ]


def test_trailing_timesteps_are_those_of_diffusers() -> None:
    from diffusers import EulerAncestralDiscreteScheduler

    for steps in range(1, 9):
        solver = EulerAncestralDiscreteScheduler(timestep_spacing="trailing")
        solver.set_timesteps(steps)
        assert tuple(solver.timesteps.int().tolist()) == inference_timesteps(steps)


def test_unknown_prediction_is_refused() -> None:
    made = scheduler()
    made.register_to_config(prediction_type="flow_prediction")
    with pytest.raises(ParameterError, match="flow"):
        NoiseSchedule.from_scheduler(made)
