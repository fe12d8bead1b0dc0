import copy

import pytest
import torch
from diffusers import DDIMScheduler

from okml.add.alternatives.consistency import (
    AsSample,
    ConsistencyDistillation,
    ConsistencyFunction,
)
from okml.add.alternatives.ddim import CLEAN, ddim_step
from okml.add.alternatives.gaussians import draw_gaussians
from okml.add.alternatives.progressive import progressive_round, rounds_of, two_step_target
from okml.add.examples import ExampleBatches
from okml.add.images import Images
from okml.add.sampling import predict_sample, sample_student, sample_teacher
from okml.add.schedule import NoiseSchedule
from okml.add.small.unet import CONDITION, small_scheduler, small_unet
from okml.training import TrainingSettings, fit

WIDTH = 32


@pytest.fixture(scope="module")
def schedule():
    return NoiseSchedule.from_scheduler(small_scheduler())


@pytest.fixture
def teacher():
    torch.manual_seed(0)
    return small_unet(8, 1, (8, 16)).requires_grad_(False).eval()


@pytest.fixture
def told():
    return {CONDITION: torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1))}


def noise(seed=0):
    return torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def no_metrics(student):
    return {}


def filled(value):
    return torch.full((3,), value)


def test_a_step_is_diffusers_ddim(schedule, teacher, told):
    solver = DDIMScheduler.from_config(
        small_scheduler().config, timestep_spacing="trailing", clip_sample=False
    )
    solver.set_timesteps(4)
    noisy = noise()
    with torch.no_grad():
        output = teacher(noisy, filled(749), told)
        expected = solver.step(output, 749, noisy).prev_sample
        found = ddim_step(teacher, schedule, noisy, filled(749), filled(499), told)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_step_to_the_clean_image_is_the_estimate_of_it(schedule, teacher, told):
    noisy = noise()
    with torch.no_grad():
        found = ddim_step(teacher, schedule, noisy, filled(300), filled(CLEAN), told)
        expected = predict_sample(teacher, schedule, noisy, filled(300), told)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("stop", [499, CLEAN])
def test_one_step_to_the_target_ends_where_two_steps_end(schedule, teacher, told, stop):
    noisy, start, middle, stop = noise(), filled(999), filled(749), filled(stop)
    with torch.no_grad():
        target = two_step_target(teacher, schedule, noisy, start, middle, stop, told)
        halfway = ddim_step(teacher, schedule, noisy, start, middle, told)
        end = ddim_step(teacher, schedule, halfway, middle, stop, told)
    at = stop.clamp_min(0)
    alpha = torch.where(stop == CLEAN, 1.0, schedule.alpha(at)).reshape(-1, 1, 1, 1)
    sigma = torch.where(stop == CLEAN, 0.0, schedule.sigma(at)).reshape(-1, 1, 1, 1)
    # At 999 alpha is 0, so the noise that the target implies is x itself.
    torch.testing.assert_close(alpha * target + sigma * noisy, end, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("steps", "updates", "rounds"),
    [
        (1, 800, [(4, 267), (2, 267), (1, 266)]),
        (2, 800, [(4, 400), (2, 400)]),
        (4, 800, [(4, 800)]),
        (1, 2, [(4, 1), (2, 1), (1, 1)]),  # a round has at least one update
    ],
)
def test_rounds_from_eight_steps_share_the_updates(steps, updates, rounds):
    assert rounds_of(8, steps, updates) == rounds


def test_a_round_brings_one_step_closer_to_the_teachers_two(schedule, teacher, told, tmp_path):
    student = copy.deepcopy(teacher).requires_grad_(True)
    task = progressive_round(student, teacher, schedule, 1, 2e-3, 60, no_metrics, {})
    source = ExampleBatches(noise(3).repeat(4, 1, 1, 1), {CONDITION: told[CONDITION].repeat(4, 1)})
    with torch.no_grad():
        wanted = sample_teacher(teacher, small_scheduler(), noise(), told, 2)

    def distance():
        made = sample_teacher(student, small_scheduler(), noise(), told, 1)
        return float((made - wanted).square().mean())

    before = distance()
    fit(task, source, TrainingSettings(batch_size=12, max_steps=60), tmp_path)
    assert distance() < 0.5 * before


def test_the_consistency_function_is_the_identity_on_clean_images(schedule, teacher, told):
    function = ConsistencyFunction(teacher, schedule)
    images = noise()
    with torch.no_grad():
        torch.testing.assert_close(function(images, filled(0), told), images)
        far = predict_sample(teacher, schedule, images, filled(999), told)
        torch.testing.assert_close(function(images, filled(999), told), far, atol=1e-4, rtol=1e-4)


def test_samplers_see_the_functions_image(schedule, teacher, told):
    function = ConsistencyFunction(teacher, schedule)
    shown = AsSample(function, schedule)
    with torch.no_grad():
        expected = function(noise(), filled(999), told)
        torch.testing.assert_close(
            sample_student(shown, schedule, noise(), told, 1), expected, rtol=1e-4, atol=1e-5
        )


@pytest.mark.slow
def test_consistency_distillation_learns_and_moves_its_target(schedule, teacher, told, tmp_path):
    # A student that starts elsewhere than its teacher has something to learn.
    torch.manual_seed(5)
    fresh = small_unet(8, 1, (8, 16))
    student, target = (ConsistencyFunction(copy.deepcopy(fresh), schedule) for _ in range(2))
    task = ConsistencyDistillation(student, target, teacher, schedule, 2, 2e-3, 0.5, no_metrics)
    source = ExampleBatches(noise(3).repeat(8, 1, 1, 1), {CONDITION: told[CONDITION].repeat(8, 1)})
    settings = TrainingSettings(batch_size=24, max_steps=100, log_every=1)
    losses = fit(task, source, settings, tmp_path).frame["student/loss"]
    assert losses[-10:].mean() < 0.7 * losses[:10].mean()
    moved = next(target.parameters())
    assert not torch.allclose(moved, next(fresh.parameters()))
    assert not torch.allclose(moved, next(student.parameters()))
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_gaussians_have_the_mean_and_the_covariance_of_their_class():
    draws = torch.Generator().manual_seed(0)
    pixels = torch.randn(60, 1, 2, 2, generator=draws) @ torch.randn(2, 2, generator=draws)
    known = torch.arange(60) % 2
    pixels[known == 1] += 3
    asked = torch.arange(40_000) % 2
    drawn = draw_gaussians(Images(pixels, known, ("",) * 60), asked, seed=1)
    for label in (0, 1):
        own, real = drawn[asked == label].flatten(1), pixels[known == label].flatten(1)
        torch.testing.assert_close(own.mean(0), real.mean(0), atol=0.05, rtol=0)
        torch.testing.assert_close(own.T.cov(), real.T.cov(), atol=0.1, rtol=0.05)
    again = draw_gaussians(Images(pixels, known, ("",) * 60), asked, seed=1)
    assert torch.equal(again, drawn)
