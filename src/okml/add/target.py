"""The teacher's target for the student's output (section 3.3 and appendix A).

The teacher sees neither the student's input nor its bare output, but the output with fresh noise
at a timestep of the teacher's own range. No gradient passes through it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from okml.add.interfaces import Condition, Networks
from okml.add.schedule import NoiseSchedule
from okml.add.settings import AddSettings
from okml.errors import ParameterError

DOMAIN_CHANGES_AT = 200  # noise-free score distillation, arXiv 2310.17590


@torch.no_grad()
def teacher_target(
    networks: Networks,
    settings: AddSettings,
    sample: Tensor,
    timestep: Tensor,
    noise: Tensor,
    condition: Condition,
) -> Tensor:
    """Return the teacher's x0-hat, or the target that stands for it with ``nfsd``.

    Args:
        networks: The networks of the distillation.
        settings: The settings, of which weighting, guidance and number of steps are used.
        sample: The student's x0-hat in the teacher's latent space, ``[B, c, h, w]``.
        timestep: The teacher's timesteps t, ``[B]``.
        noise: The fresh noise eps', ``[B, c, h, w]``.
        condition: The condition of the teacher.

    Returns:
        ``[B, c, h, w]`` float32.
    """
    schedule = networks.teacher_schedule
    noisy = schedule.add_noise(sample, noise, timestep)
    if settings.distillation == "nfsd":
        return _noise_free(networks, settings, sample, noisy, timestep, condition)
    for step in range(settings.teacher_steps):
        at = timestep * (settings.teacher_steps - step) // settings.teacher_steps
        output = guided(
            networks.teacher, noisy, at, condition, settings.guidance, networks.null_condition
        )
        target = schedule.to_sample(output, noisy, at)
        # DDIM, eta 0, to the next of t, t (k - 1) / k, ..., t / k; the inner solver is ours.
        following = timestep * (settings.teacher_steps - step - 1) // settings.teacher_steps
        noisy = schedule.add_noise(target, schedule.to_noise(output, noisy, at), following)
    return target


def _noise_free(
    networks: Networks,
    settings: AddSettings,
    sample: Tensor,
    noisy: Tensor,
    timestep: Tensor,
    condition: Condition,
) -> Tensor:
    """Return x0-hat minus sigma / alpha times (domain + s condition), both directions of noise.

    With c(t) of score distillation, the gradient is then w(t) (domain + s condition).
    """
    if networks.null_condition is None:
        raise ParameterError("NFSD needs the teacher's empty condition.", "Set null_condition.")
    batch, schedule = len(sample), networks.teacher_schedule

    def noise_of(told: Condition) -> Tensor:
        return _noise(networks.teacher, schedule, noisy, timestep, told)

    empty = noise_of(expand_condition(networks.null_condition, batch))
    direction = noise_of(condition) - empty
    late = timestep >= DOMAIN_CHANGES_AT
    # Without a negative prompt there is nothing to compare with: no domain term late.
    negative = empty
    if networks.negative_condition is not None:
        negative = noise_of(expand_condition(networks.negative_condition, batch))
    late = late.reshape(-1, *[1] * (sample.ndim - 1))
    domain = torch.where(late, empty - negative, empty)
    alpha, sigma = schedule.coefficients(timestep, sample)
    return sample - sigma / alpha * (domain + settings.nfsd_guidance * direction)


def _noise(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    noisy: Tensor,
    timestep: Tensor,
    condition: Condition,
) -> Tensor:
    return schedule.to_noise(denoiser(noisy, timestep, condition), noisy, timestep)


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


class Guided(nn.Module):
    """A denoiser under classifier-free guidance, called as any other.

    Args:
        denoiser: The network, called with the condition and with the empty one.
        guidance: The scale; 1 is none.
        null_condition: The empty condition, ``[1, ...]`` each.
    """

    def __init__(self, denoiser: nn.Module, guidance: float, null_condition: Condition) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.guidance = guidance
        self.null_condition = null_condition

    def forward(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """Return the guided output, ``[B, c, h, w]``."""
        # Kept on the device, since a copy to it would wait for all that it has to do.
        self.null_condition = {
            name: value.to(noisy.device) for name, value in self.null_condition.items()
        }
        return guided(self.denoiser, noisy, timestep, condition, self.guidance, self.null_condition)


def expand_condition(condition: Condition, batch: int) -> dict[str, Tensor]:
    """Return a condition of one example, ``[1, ...]`` each, repeated to ``[batch, ...]``."""
    return {name: value.expand(batch, *value.shape[1:]) for name, value in condition.items()}
