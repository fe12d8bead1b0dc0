"""One deterministic step of DDIM between any two noise levels, the clean image included."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from okml.add.interfaces import Condition
from okml.add.sampling import predict_sample
from okml.add.schedule import NoiseSchedule

CLEAN = -1  # stands for the noise level of a clean image, below timestep 0


def levels(schedule: NoiseSchedule, timestep: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return alpha and sigma at timesteps ``[B]``, 1 and 0 at ``CLEAN``, as ``[B, 1, ...]``."""
    clean = timestep == CLEAN
    at = timestep.clamp_min(0)
    shape = (-1, *[1] * (like.ndim - 1))
    alpha = torch.where(clean, 1.0, schedule.alpha(at)).reshape(shape)
    return alpha, torch.where(clean, 0.0, schedule.sigma(at)).reshape(shape)


def ddim_step(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    noisy: Tensor,
    start: Tensor,
    stop: Tensor,
    condition: Condition,
) -> Tensor:
    """Return x at ``stop`` from x at ``start`` (Song et al., 2021, eta 0).

    Args:
        denoiser: The teacher or a student of it.
        schedule: The noise schedule of the denoiser.
        noisy: ``[B, c, h, w]``.
        start: The timesteps of ``noisy``, ``[B]``.
        stop: Smaller timesteps or ``CLEAN``, ``[B]``.
        condition: ``[B, ...]`` each.
    """
    clean = predict_sample(denoiser, schedule, noisy, start, condition)
    alpha, sigma = levels(schedule, start, noisy)
    alpha_to, sigma_to = levels(schedule, stop, noisy)
    return alpha_to * clean + sigma_to * (noisy - alpha * clean) / sigma
