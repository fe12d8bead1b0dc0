"""Consistency distillation: neighbors on one trajectory must lead to the same image.

Song et al. (2023), with the skipping grid and the boundary of latent consistency models (Luo et
al., 2023); no guidance, and in pixel space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from okml.add.alternatives.ddim import CLEAN, ddim_step
from okml.add.denoiser import Denoiser
from okml.add.interfaces import Condition, Examples
from okml.add.sampling import predict_sample
from okml.add.schedule import NoiseSchedule, inference_timesteps
from okml.training import Losses, Phase, TrainingTask

TIMESTEP_SCALING, DATA_SIZE = 10.0, 0.5  # s and sigma_data of the boundary, as in the LCM code
HUBER = 1e-3  # c of the pseudo-Huber loss, as in the LCM code


class ConsistencyFunction(nn.Module):
    """Maps x_t to the start of its trajectory; at t = 0 it is the identity.

    f(x, t) = c_skip(t) x + c_out(t) x0-hat(x, t), where c_skip falls from 1 to 0 in the first
    fiftieth of the trajectory. It is called as a denoiser that predicts the sample itself.

    Args:
        denoiser: The network; a student starts with the teacher's weights.
        schedule: The schedule by which the network's output is read.
    """

    def __init__(self, denoiser: Denoiser, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.schedule = schedule

    def forward(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """Return the estimated clean images, ``[B, c, h, w]``."""
        clean = predict_sample(self.denoiser, self.schedule, noisy, timestep, condition)
        scaled = TIMESTEP_SCALING * timestep.clamp_min(0).float().reshape(-1, 1, 1, 1)
        skip = DATA_SIZE**2 / (scaled**2 + DATA_SIZE**2)
        out = scaled / (scaled**2 + DATA_SIZE**2).sqrt()
        return skip * noisy + out * clean


class ConsistencyDistillation(TrainingTask):
    """Trains a consistency function against a slowly moving copy of itself.

    Args:
        student: A consistency function with the teacher's weights.
        target: A copy of the student, which follows its weights.
        teacher: The frozen teacher, guided where it is meant to be.
        schedule: The noise schedule of teacher and student.
        grid: The number of timesteps on the trajectory.
        learning_rate: The learning rate of AdamW.
        target_decay: The decay of the exponential moving average.
        evaluate: A function of the student that returns metrics by name.
        identity: The values that a checkpoint must share; see :class:`okml.training.TrainingTask`.
    """

    def __init__(
        self,
        student: ConsistencyFunction,
        target: ConsistencyFunction,
        teacher: nn.Module,
        schedule: NoiseSchedule,
        grid: int,
        learning_rate: float,
        target_decay: float,
        evaluate: Callable[[nn.Module], Mapping[str, float]],
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        optimizer = torch.optim.AdamW(student.parameters(), learning_rate, fused=True)
        target.requires_grad_(False)
        super().__init__(
            {"student": student, "target": target},
            {"student": optimizer},
            averaged=("student",),
            identity=identity,
        )
        self.teacher = teacher
        self.schedule = schedule
        self.grid = torch.tensor([*reversed(inference_timesteps(grid, len(schedule)))])
        self.target_decay = target_decay
        self._evaluate = evaluate

    def phases(self, step: int) -> Iterable[Phase]:
        """Return the one phase, ``student``."""
        return (Phase(self.loss, ("student",), "student"),)

    def loss(self, batch: Examples) -> Losses:
        """Return the pseudo-Huber distance between the ends of two neighbors."""
        draws = torch.Generator(batch.images.device).manual_seed(batch.seed % 2**63)
        clean, condition = batch.images, batch.condition
        # The grid is kept on the device, since a copy to it would wait for all that it has to do.
        grid = self.grid = self.grid.to(clean.device)
        place = torch.randint(len(grid), (len(clean),), device=clean.device, generator=draws)
        start = grid[place]
        stop = torch.where(place > 0, grid[place - 1], CLEAN)
        noise = torch.randn(clean.shape, device=clean.device, generator=draws)
        noisy = self.schedule.add_noise(clean, noise, start)
        made = self.modules["student"](noisy, start, condition)
        with torch.no_grad():
            earlier = ddim_step(self.teacher, self.schedule, noisy, start, stop, condition)
            wanted = self.modules["target"](earlier, stop.clamp_min(0), condition)
            ended = (stop == CLEAN).reshape(-1, 1, 1, 1)
            wanted = torch.where(ended, earlier, wanted)
        distance = ((made - wanted).square() + HUBER**2).sqrt() - HUBER
        return {"loss": distance.mean()}

    def evaluate(self) -> Mapping[str, float]:
        """Return the metrics of the student as it is."""
        return self._evaluate(self.modules["student"])

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Move the target network towards the student."""
        student, target = self.modules["student"], self.modules["target"]
        for moving, new in zip(target.parameters(), student.parameters(), strict=True):
            moving.lerp_(new, 1 - self.target_decay)


class AsSample(nn.Module):
    """Shows a consistency function to samplers that expect the output of the schedule's kind."""

    def __init__(self, function: nn.Module, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.function = function
        self.schedule = schedule

    def forward(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """Return the velocity that stands for the function's image, ``[B, c, h, w]``."""
        clean: Tensor = self.function(noisy, timestep, condition)
        shape = (-1, 1, 1, 1)
        alpha = self.schedule.alpha(timestep).reshape(shape)
        sigma = self.schedule.sigma(timestep).reshape(shape)
        return (alpha * noisy - clean) / sigma
