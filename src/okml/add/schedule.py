"""Noise schedules: the level of a timestep, and the sample that a network's output stands for.

All arithmetic is in float32 outside autocast: at the last timestep of Stable Diffusion an error of
the predicted noise reaches the sample 14.6 times as large, and bfloat16 has eight bits.
"""

from __future__ import annotations

from typing import cast, get_args

import torch
from torch import Tensor

from okml.add.settings import TIMESTEPS, PredictionType, TerminalSnr
from okml.errors import ParameterError


class NoiseSchedule:
    """The variance-preserving forward process x_t = alpha_t x_0 + sigma_t eps of a network.

    Args:
        alphas_cumprod: The squares of alpha_t, ``[T]``.
        prediction_type: The quantity that the network predicts.
        noise_only: Whether the last input holds no signal although the schedule leaves some:
            x_T = eps. What is read off a prediction stays as the network was trained.
    """

    def __init__(
        self,
        alphas_cumprod: Tensor,
        prediction_type: PredictionType,
        *,
        noise_only: bool = False,
    ) -> None:
        squared = alphas_cumprod.double()
        alpha, sigma = squared.sqrt(), (1 - squared).sqrt()
        if prediction_type == "epsilon" and not bool((alpha > 0).all()):
            raise ParameterError(
                "A network that predicts noise says nothing about the sample where the signal is "
                "zero, and this schedule has zero terminal signal.",
                "Use terminal_snr='noise_only', or a network of v or sample prediction.",
            )
        self.prediction_type: PredictionType = prediction_type
        self.noise_only = noise_only
        noising = torch.stack([alpha, sigma])
        if noise_only:
            noising[:, -1] = torch.tensor([0.0, 1.0])
        # [noising or reading, alpha or sigma, T]
        self._table = torch.stack([noising, torch.stack([alpha, sigma])]).float()

    @classmethod
    def from_scheduler(
        cls, scheduler: object, terminal_snr: TerminalSnr = "native"
    ) -> NoiseSchedule:
        """Return the schedule of a diffusers scheduler.

        Args:
            scheduler: A scheduler, of which ``alphas_cumprod`` and ``prediction_type`` are used.
            terminal_snr: The way in which the last timestep loses its signal. A teacher keeps
                ``native``.

        Raises:
            ParameterError: If ``rescale`` is asked for and the network predicts noise.
        """
        from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

        squared = cast(Tensor, scheduler.alphas_cumprod)  # type: ignore[attr-defined]
        prediction = scheduler.config.prediction_type  # type: ignore[attr-defined]
        if prediction not in get_args(PredictionType):
            raise ParameterError(f"Prediction type {prediction!r} is not supported.")
        if terminal_snr == "rescale" and squared[-1] > 0:
            betas = rescale_zero_terminal_snr(scheduler.betas)  # type: ignore[attr-defined]
            squared = (1 - betas).cumprod(0)
        return cls(squared, prediction, noise_only=terminal_snr == "noise_only")

    def __len__(self) -> int:
        """Return T, the number of timesteps."""
        return self._table.shape[-1]

    def add_noise(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Return x_t, ``[B, ...]`` float32, of x_0 and eps of that shape at t ``[B]``."""
        alpha, sigma = self.coefficients(timestep, clean, noising=True)
        return alpha * clean.float() + sigma * noise.float()

    def to_sample(self, output: Tensor, noisy: Tensor, timestep: Tensor) -> Tensor:
        """Return the x_0, ``[B, ...]`` float32, that a network's output at x_t stands for."""
        alpha, sigma = self.coefficients(timestep, noisy)
        output, noisy = output.float(), noisy.float()
        if self.prediction_type == "epsilon":
            return (noisy - sigma * output) / alpha
        if self.prediction_type == "v_prediction":
            return alpha * noisy - sigma * output
        return output

    def to_noise(self, output: Tensor, noisy: Tensor, timestep: Tensor) -> Tensor:
        """Return the eps, ``[B, ...]`` float32, that a network's output at x_t stands for."""
        alpha, sigma = self.coefficients(timestep, noisy)
        output, noisy = output.float(), noisy.float()
        if self.prediction_type == "epsilon":
            return output
        if self.prediction_type == "v_prediction":
            return alpha * output + sigma * noisy
        return (noisy - alpha * output) / sigma

    def alpha(self, timestep: Tensor) -> Tensor:
        """Return alpha_t, ``[B]``, as predictions are read with."""
        return self._on(timestep)[1, 0][timestep]

    def sigma(self, timestep: Tensor) -> Tensor:
        """Return sigma_t, ``[B]``, as predictions are read with."""
        return self._on(timestep)[1, 1][timestep]

    def coefficients(
        self, timestep: Tensor, like: Tensor, *, noising: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return alpha_t and sigma_t, each ``[B, 1, ...]`` with as many dimensions as ``like``.

        Args:
            timestep: The timesteps t, ``[B]``.
            like: A tensor they are to be multiplied with.
            noising: Whether noise is added, not a prediction read; they differ at the last
                timestep with ``noise_only``.
        """
        pair = self._on(timestep)[int(not noising)][:, timestep]  # [2, B]
        alpha, sigma = pair.reshape(2, -1, *[1] * (like.ndim - 1))
        return alpha, sigma

    def _on(self, timestep: Tensor) -> Tensor:
        """Return the table on the device of ``timestep``; it stays there for the next call."""
        if self._table.device != timestep.device:
            self._table = self._table.to(timestep.device)
        return self._table


def inference_timesteps(steps: int, length: int = TIMESTEPS) -> tuple[int, ...]:
    """Return the timesteps, descending, at which a student takes ``steps`` steps.

    Trailing spacing: the released checkpoints are sampled so in diffusers (999; 999 and 499; ...).
    """
    return tuple(round(length - index * length / steps) - 1 for index in range(steps))
