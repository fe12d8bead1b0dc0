"""Images from a student in one to four steps, and from a teacher by ordinary sampling.

Everything here returns samples of the network's own space; a codec decodes them. Networks are
called as they are: put them into evaluation mode first where that matters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from okml.add.interfaces import Condition
from okml.add.schedule import NoiseSchedule, inference_timesteps

TeacherSampler = Literal["ddim", "dpm_solver++"]
# One generator for all examples, or one for each: then what it draws depends on no neighbor.
Generators = torch.Generator | Sequence[torch.Generator]
# From noise [B, c, h, w], a condition and the source of further noise to samples [B, c, h, w].
Sampler = Callable[[Tensor, Condition, Generators], Tensor]


def draw_noise(shape: Sequence[int], generators: Generators | None, device: torch.device) -> Tensor:
    """Return standard normal noise of ``shape`` on ``device``.

    Args:
        shape: ``(B, c, h, w)``.
        generators: One generator on ``device``, or ``B`` of any device that draw an example each;
            None: torch's own.
        device: The device of the noise.
    """
    if generators is None or isinstance(generators, torch.Generator):
        return torch.randn(*shape, generator=generators, device=device)
    count, *one = shape
    if len(generators) != count:
        raise AssertionError(f"{count} examples have {len(generators)} generators")
    drawn = [torch.randn(*one, generator=each, device=each.device) for each in generators]
    return torch.stack(drawn).to(device)


def predict_sample(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    noisy: Tensor,
    timestep: Tensor,
    condition: Condition,
) -> Tensor:
    """Return x0-hat, ``[B, c, h, w]`` float32, as ``denoiser`` sees it in ``noisy``.

    Args:
        denoiser: The student or the teacher.
        schedule: The noise schedule of the denoiser.
        noisy: The noised input x_t, ``[B, c, h, w]``.
        timestep: The timesteps t, ``[B]``.
        condition: ``[B, ...]`` each.
    """
    return schedule.to_sample(denoiser(noisy, timestep, condition), noisy, timestep)


@torch.no_grad()
def sample_student(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    noise: Tensor,
    condition: Condition,
    steps: int = 1,
    generator: Generators | None = None,
) -> Tensor:
    """Sample a student without guidance, each estimate noised afresh to the next timestep.

    Training prepares for this sampler; the paper names none.

    Args:
        denoiser: The student to sample from.
        schedule: The noise schedule of the student.
        noise: The start, ``[B, c, h, w]``, standard normal.
        condition: ``[B, ...]`` each.
        steps: The number of steps, at trailing timesteps.
        generator: The generator of the noise between steps, or one for each example.

    Returns:
        x0-hat, ``[B, c, h, w]``.
    """
    noisy = clean = noise
    for number, timestep in enumerate(inference_timesteps(steps, len(schedule))):
        at = torch.full((len(noise),), timestep, device=noise.device)
        if number > 0:
            fresh = draw_noise(noise.shape, generator, noise.device)
            noisy = schedule.add_noise(clean, fresh, at)
        clean = predict_sample(denoiser, schedule, noisy, at, condition)
    return clean


def student_sampler(denoiser: nn.Module, schedule: NoiseSchedule, steps: int) -> Sampler:
    """Return :func:`sample_student` for one student and number of steps."""

    def sample(noise: Tensor, condition: Condition, generator: Generators) -> Tensor:
        return sample_student(denoiser, schedule, noise, condition, steps, generator)

    return sample


@torch.no_grad()
def sample_teacher(
    denoiser: nn.Module,
    scheduler: Any,
    noise: Tensor,
    condition: Condition,
    steps: int,
    sampler: TeacherSampler = "ddim",
) -> Tensor:
    """Sample a teacher with a solver of diffusers.

    Args:
        denoiser: The teacher, a network that is sampled like it, or
            :class:`okml.add.target.Guided`.
        scheduler: A diffusers scheduler; its noise schedule and prediction type count.
        noise: ``[B, c, h, w]``, standard normal.
        condition: ``[B, ...]`` each.
        steps: The number of calls of the denoiser.
        sampler: DDIM (eta 0) or DPM-Solver++ of second order, both with trailing timesteps.
    """
    solver = _solver(scheduler, sampler)
    solver.set_timesteps(steps, device=noise.device)
    noisy: Tensor = noise * solver.init_noise_sigma
    for timestep in solver.timesteps:
        at = timestep.expand(len(noise))
        output = denoiser(noisy, at, condition)
        noisy = solver.step(output, timestep, noisy, return_dict=False)[0]
    return noisy


def teacher_sampler(
    denoiser: nn.Module, scheduler: Any, steps: int, sampler: TeacherSampler = "ddim"
) -> Sampler:
    """Return :func:`sample_teacher` for one teacher and number of steps."""

    def sample(noise: Tensor, condition: Condition, _: Generators) -> Tensor:
        return sample_teacher(denoiser, scheduler, noise, condition, steps, sampler)

    return sample


def _solver(scheduler: Any, sampler: TeacherSampler) -> Any:
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    if sampler == "ddim":
        # clip_sample is diffusers' default for pixels and wrong for latents.
        return DDIMScheduler.from_config(
            scheduler.config, timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True
        )
    return DPMSolverMultistepScheduler.from_config(
        scheduler.config,
        timestep_spacing="trailing",
        algorithm_type="dpmsolver++",
        solver_order=2,
        final_sigmas_type="zero",
    )
