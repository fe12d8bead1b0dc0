"""Images from a student in one to four steps, and from a teacher by ordinary sampling.

Everything here returns samples of the network's own space; a codec decodes them. Networks are
called as they are: put them into evaluation mode first where that matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from okml.add.interfaces import Condition
from okml.add.schedule import NoiseSchedule, inference_timesteps
from okml.errors import ParameterError

StudentSampler = Literal["renoise", "euler_ancestral"]
TeacherSampler = Literal["ddim", "dpm_solver++"]


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
    timesteps: Sequence[int] | int = 1,
    sampler: StudentSampler = "renoise",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Sample a student without guidance.

    Args:
        denoiser: The student.
        schedule: The noise schedule of the student.
        noise: The start, ``[B, c, h, w]``, standard normal.
        condition: ``[B, ...]`` each.
        timesteps: The descending timesteps; a number stands for that many with trailing spacing.
        sampler: ``renoise`` is what training prepares for: each estimate of x0 is noised afresh
            to the next timestep. ``euler_ancestral`` is how the released checkpoints are sampled.
            The paper names neither.
        generator: The generator of the noise between steps.

    Returns:
        x0-hat, ``[B, c, h, w]``.
    """
    if isinstance(timesteps, int):
        timesteps = inference_timesteps(timesteps, length=len(schedule))
    if list(timesteps) != sorted(set(timesteps), reverse=True) or not timesteps:
        raise ParameterError(f"Timesteps must descend, and these are {list(timesteps)}.")
    noisy = noise
    for now, following in zip(timesteps, [*timesteps[1:], None], strict=True):
        at = _filled(now, noise)
        clean = predict_sample(denoiser, schedule, noisy, at, condition)
        if following is None:
            return clean
        to = _filled(following, noise)
        fresh = torch.randn(noise.shape, generator=generator, device=noise.device)
        if sampler == "renoise":
            noisy = schedule.add_noise(clean, fresh, to)
        else:
            noisy = _ancestral(schedule, noisy, clean, fresh, at, to)
    raise AssertionError("the last timestep returns")


def _ancestral(
    schedule: NoiseSchedule, noisy: Tensor, clean: Tensor, fresh: Tensor, at: Tensor, to: Tensor
) -> Tensor:
    """Take an ancestral Euler step (eta = 1) from ``at`` to ``to``.

    In z = x / alpha, of noise level s = sigma / alpha, the step follows the direction
    d = (z - clean) / s down to s_down = s_to^2 / s and fills s_up^2 = s_to^2 - s_down^2 with fresh
    noise. Written with 1 / s it holds for an input without signal as well, where s is infinite.
    """
    alpha, sigma = schedule.coefficients(at, noisy)
    _, noising_sigma = schedule.coefficients(at, noisy, noising=True)
    alpha_to, sigma_to = schedule.coefficients(to, noisy)
    level, inverse = sigma_to / alpha_to, alpha / sigma
    direction = noisy / noising_sigma - clean * inverse
    down = level**2 * inverse
    up = (level**2 - down**2).clamp_min(0).sqrt()
    return alpha_to * (clean + down * direction + up * fresh)


@torch.no_grad()
def sample_teacher(
    denoiser: nn.Module,
    scheduler: Any,
    noise: Tensor,
    condition: Condition,
    steps: int,
    sampler: TeacherSampler = "ddim",
    guidance: float = 1.0,
    null_condition: Condition | None = None,
) -> Tensor:
    """Sample a teacher with a solver of diffusers.

    Args:
        denoiser: The teacher, or a network that is sampled like it.
        scheduler: A diffusers scheduler; its noise schedule and prediction type count.
        noise: ``[B, c, h, w]``, standard normal.
        condition: ``[B, ...]`` each.
        steps: The number of calls of the network (of pairs of calls with guidance).
        sampler: DDIM (eta 0) or DPM-Solver++ of second order, both with trailing timesteps.
        guidance: The scale of classifier-free guidance; 1 is none.
        null_condition: The empty condition, ``[1, ...]`` each; needed with guidance.
    """
    solver = _solver(scheduler, sampler)
    solver.set_timesteps(steps, device=noise.device)
    noisy: Tensor = noise * solver.init_noise_sigma
    for timestep in solver.timesteps:
        at = timestep.expand(len(noise))
        output = guided(denoiser, noisy, at, condition, guidance, null_condition)
        noisy = solver.step(output, timestep, noisy, return_dict=False)[0]
    return noisy


def guided(
    denoiser: nn.Module,
    noisy: Tensor,
    timestep: Tensor,
    condition: Condition,
    guidance: float,
    null_condition: Condition | None,
) -> Tensor:
    """Return the network's output with classifier-free guidance.

    Outputs of all prediction types are affine in each other at a fixed x_t, so guiding the output
    guides noise and sample alike.

    Raises:
        ParameterError: If guidance is asked for without an empty condition.
    """
    output: Tensor
    if guidance == 1:
        output = denoiser(noisy, timestep, condition)
        return output
    if null_condition is None:
        raise ParameterError(
            "Guidance needs the teacher's empty condition.", "Pass null_condition."
        )
    empty = expand_condition(null_condition, len(noisy))
    both = {name: torch.cat([value, empty[name]]) for name, value in condition.items()}
    output = denoiser(torch.cat([noisy, noisy]), torch.cat([timestep, timestep]), both)
    told, untold = output.chunk(2)
    return untold + guidance * (told - untold)


def expand_condition(condition: Condition, batch: int) -> dict[str, Tensor]:
    """Return a condition of one example, ``[1, ...]`` each, repeated to ``[batch, ...]``."""
    return {name: value.expand(batch, *value.shape[1:]) for name, value in condition.items()}


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


def _filled(timestep: int, like: Tensor) -> Tensor:
    return torch.full((len(like),), timestep, device=like.device)
