"""Trainings of everything that a distillation finds finished: classifiers and the teacher."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from okml.add.denoiser import Denoiser
from okml.add.images import Images
from okml.add.schedule import NoiseSchedule
from okml.add.small.unet import CONDITION
from okml.settings import BelowOne, Count, Fraction, LearningRate, Settings, Whole
from okml.training import History, SupervisedTask, TensorBatches, TrainingSettings, fit


class SupervisedSettings(Settings):
    """AdamW with a linear warm-up and a cosine down to a twentieth."""

    steps: Count
    batch: Count
    learning_rate: LearningRate
    warmup_steps: Whole = 100


class TeacherSettings(SupervisedSettings):
    """The same for a teacher, whose weights are averaged and whose prompts are dropped at times."""

    ema_decay: Fraction | None = None
    # Share of prompts replaced by "no prompt", for classifier-free guidance.
    prompt_dropout: BelowOne = 0.1


def train_classifier(
    network: nn.Module,
    classify: Callable[[Tensor], Tensor],
    images: Images,
    settings: SupervisedSettings,
    seed: int,
    device: str,
    folder: Path,
) -> None:
    """Teach ``network`` the classes of images.

    Args:
        network: The network, trained in place.
        classify: A function from images to logits through ``network``.
        images: The training images.
        settings: The settings of the optimization.
        seed: The seed of the order of images.
        device: The device as a profile names it.
        folder: The folder of the training; a finished training is loaded from it.
    """

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        pixels, labels = batch
        return functional.cross_entropy(classify(pixels), labels)

    task = _task(network, loss, settings)
    source = TensorBatches(images.pixels, images.labels)
    with torch.enable_grad():  # an evaluation may be the first that asks for the network
        fit(task, source, _training(settings, seed, device), folder)
    network.requires_grad_(False).eval()


def train_teacher(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    latents: Tensor,
    prompts: Tensor,
    settings: TeacherSettings,
    seed: int,
    device: str,
    folder: Path,
) -> tuple[Denoiser, History]:
    """Train a network to denoise images, with their prompts or without.

    Args:
        denoiser: A network with v-prediction.
        schedule: The noise levels, all of which are drawn equally often.
        latents: The training images as the network takes them, ``[n, c, s, s]``.
        prompts: The vectors of the captions, ``[n, width]``.
        settings: The settings of the optimization.
        seed: The seed of order, noise and dropped prompts.
        device: The device as a profile names it.
        folder: The folder of the training; a finished training is loaded from it.

    Returns:
        The averaged network, frozen, and the history.
    """

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        clean, told = batch
        noise = torch.randn_like(clean)
        timestep = torch.randint(len(schedule), (len(clean),), device=clean.device)
        kept = torch.rand(len(told), 1, device=told.device) >= settings.prompt_dropout
        noisy = schedule.add_noise(clean, noise, timestep)
        output = model(noisy, timestep, {CONDITION: told * kept})
        return functional.mse_loss(output, velocity(schedule, clean, noise, timestep))

    task = _task(denoiser, loss, settings)
    source = TensorBatches(latents, prompts)
    training = _training(settings, seed, device, settings.ema_decay)
    history = fit(task, source, training, folder)
    averaged = history.averaged.get("model", denoiser)
    assert isinstance(averaged, Denoiser)
    return averaged.requires_grad_(False).eval(), history


def velocity(schedule: NoiseSchedule, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
    """Return v_t = alpha_t eps - sigma_t x_0, ``[B, c, h, w]`` (Salimans & Ho, 2022)."""
    alpha, sigma = (
        part(timestep).reshape(-1, 1, 1, 1) for part in (schedule.alpha, schedule.sigma)
    )
    return alpha * noise - sigma * clean


def _task(
    network: nn.Module, loss: Callable[[nn.Module, Any], Tensor], settings: SupervisedSettings
) -> SupervisedTask:
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, fused=True)

    def factor(step: int) -> float:
        if step < settings.warmup_steps:
            return (step + 1) / settings.warmup_steps
        rest = max(1, settings.steps - settings.warmup_steps)
        done = min(1.0, (step - settings.warmup_steps) / rest)
        return 0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2

    identity = {"settings": settings.model_dump()}
    scheduler = LambdaLR(optimizer, factor)
    return SupervisedTask(network, loss, optimizer, scheduler=scheduler, identity=identity)


def _training(
    settings: SupervisedSettings, seed: int, device: str, ema_decay: float | None = None
) -> TrainingSettings:
    return TrainingSettings(
        batch_size=settings.batch,
        max_steps=settings.steps,
        seed=seed,
        gradient_clip=1.0,
        ema_decay=ema_decay,
        device=device,  # type: ignore[arg-type]
        keep_checkpoints=1,
    )
