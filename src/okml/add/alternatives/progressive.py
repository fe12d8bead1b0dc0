"""Progressive distillation (Salimans & Ho, 2022): each round halves the number of DDIM steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from okml.add.alternatives.ddim import CLEAN, ddim_step, levels
from okml.add.denoiser import Denoiser
from okml.add.interfaces import Condition, Examples
from okml.add.sampling import predict_sample
from okml.add.schedule import NoiseSchedule, inference_timesteps
from okml.training import SupervisedTask


def two_step_target(
    teacher: nn.Module,
    schedule: NoiseSchedule,
    noisy: Tensor,
    start: Tensor,
    middle: Tensor,
    stop: Tensor,
    condition: Condition,
) -> Tensor:
    """Return the x0 at which one DDIM step of the student equals two of the teacher.

    Solves x_stop = alpha'' x0 + sigma'' / sigma (x - alpha x0) for x0 (appendix G).

    Args:
        teacher: The network that takes twice as many steps.
        schedule: The noise schedule of teacher and student.
        noisy: The noised images at ``start``, ``[B, c, h, w]``.
        start: The timesteps of ``noisy``, ``[B]``.
        middle: The timesteps between the teacher's two steps, ``[B]``.
        stop: The timesteps after the teacher's two steps, ``[B]``, or ``CLEAN``.
        condition: ``[B, ...]`` each.
    """
    halfway = ddim_step(teacher, schedule, noisy, start, middle, condition)
    end = ddim_step(teacher, schedule, halfway, middle, stop, condition)
    alpha, sigma = levels(schedule, start, noisy)
    alpha_to, sigma_to = levels(schedule, stop, noisy)
    ratio = sigma_to / sigma
    return (end - ratio * noisy) / (alpha_to - ratio * alpha)


def rounds_of(from_steps: int, steps: int, updates: int) -> list[tuple[int, int]]:
    """Return the rounds that lead to a student, which share the updates evenly.

    Args:
        from_steps: The number of steps of the teacher that the first round halves; a power of two.
        steps: The number of steps of the student of the last round, a smaller power of two.
        updates: The updates of all rounds together; what is left over goes to the first ones.

    Returns:
        The number of steps of the student of each round, and the number of its updates, at least 1.
    """
    count = from_steps.bit_length() - steps.bit_length()
    share, left = divmod(updates, count)
    return [(from_steps >> n, max(1, share + (n <= left))) for n in range(1, count + 1)]


def progressive_round(
    student: Denoiser,
    teacher: nn.Module,
    schedule: NoiseSchedule,
    steps: int,
    learning_rate: float,
    updates: int,
    evaluate: Callable[[nn.Module], Mapping[str, float]],
    identity: Mapping[str, Any],
) -> SupervisedTask:
    """Return the task of one round: a student learns in ``steps`` steps what takes twice as many.

    Args:
        student: A copy of the teacher.
        teacher: The frozen network that takes ``2 * steps`` steps.
        schedule: The noise schedule of teacher and student.
        steps: The number of sampling steps of the student.
        learning_rate: The learning rate of the first update; it falls linearly to zero.
        updates: The number of updates.
        evaluate: A function of the student that returns metrics by name.
        identity: The values that a checkpoint must share; see :class:`okml.training.TrainingTask`.
    """
    fine = torch.tensor([*inference_timesteps(2 * steps, len(schedule)), CLEAN])

    def loss(model: nn.Module, batch: Examples) -> Tensor:
        draws = torch.Generator(batch.images.device).manual_seed(batch.seed % 2**63)
        clean, condition = batch.images, batch.condition
        nonlocal fine  # kept on the device: a copy to it would wait for all that it has to do
        grid = fine = fine.to(clean.device)
        place = 2 * torch.randint(steps, (len(clean),), device=clean.device, generator=draws)
        start, middle, stop = grid[place], grid[place + 1], grid[place + 2]
        noise = torch.randn(clean.shape, device=clean.device, generator=draws)
        noisy = schedule.add_noise(clean, noise, start)
        with torch.no_grad():
            wanted = two_step_target(teacher, schedule, noisy, start, middle, stop, condition)
        made = predict_sample(model, schedule, noisy, start, condition)
        alpha, sigma = levels(schedule, start, noisy)
        weight = (alpha / sigma).square().clamp_min(1)  # "truncated SNR", section 4
        return (weight * (made - wanted).square()).mean()

    optimizer = torch.optim.AdamW(student.parameters(), learning_rate, fused=True)
    falling = LambdaLR(optimizer, lambda done: max(0.0, 1 - done / updates))
    return SupervisedTask(
        student, loss, optimizer, scheduler=falling, evaluate=evaluate, identity=identity
    )
