"""A distillation of a few thousand weights, and a program that runs it."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from okml.add.denoiser import Denoiser
from okml.add.examples import ExampleBatches
from okml.add.interfaces import Codec, Examples, FeatureNetwork, Networks
from okml.add.schedule import NoiseSchedule
from okml.add.settings import (
    AdamSettings,
    AddSettings,
    AugmentSettings,
    DiscriminatorSettings,
    HealthSettings,
)
from okml.add.small.patches import PatchCodec
from okml.add.student import make_student, shard_student
from okml.add.task import AdversarialDistillation
from okml.training import TrainingSettings, fit

SIDE = 8
CLASSES = 3
NULL = CLASSES
TEXT_WIDTH, IMAGE_WIDTH = 6, 5

SETTINGS = AddSettings(
    heads=DiscriminatorSettings(kernel=3, embedding=4, virtual_batch=4),
    augment=AugmentSettings(translation=0.125),
    student_optimizer=AdamSettings(learning_rate=1e-3, warmup_steps=2),
    head_optimizer=AdamSettings(learning_rate=2e-3),
    health=HealthSettings(every=2, gradient_ratio_every=3),
)
# Adam with its usual epsilon makes whole steps of a gradient that is rounding alone, so trainings
# that should be equal would differ.
STEADY = {
    name: getattr(SETTINGS, name).model_copy(update={"epsilon": 1e-3})
    for name in ("student_optimizer", "head_optimizer")
}
FAKES = {
    "of_each_phase": {**STEADY, "shared_fakes": False},
    "shared": {**STEADY, "shared_fakes": True},
}
RUN = TrainingSettings(
    batch_size=8, max_steps=6, gradient_clip=1.0, ema_decay=0.9, log_every=1, device="cpu", seed=3
)


def settings(**changes: Any) -> AddSettings:
    return AddSettings.model_validate(SETTINGS.model_dump() | changes)


def scheduler(prediction: str = "epsilon", zero: bool = False) -> DDPMScheduler:
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        rescale_betas_zero_snr=zero,
    )


def unet(seed: int = 0) -> UNet2DModel:
    torch.manual_seed(seed)
    return UNet2DModel(
        sample_size=SIDE,
        in_channels=1,
        out_channels=1,
        block_out_channels=(4, 8),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=2,
        num_class_embeds=CLASSES + 1,
    )


class SmoothFeatures(FeatureNetwork):
    """Two random stages without a kink: every feature depends on every pixel in its field."""

    channels = (4, 6)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        first, second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.stages = nn.ModuleList([first, second])

    def forward(self, images: Tensor) -> list[Tensor]:
        x = images.float()  # [B, 1, H, W]
        return [(x := stage(x).tanh()).flatten(2) for stage in self.stages]


class Mirror(Codec):
    """A latent space that is the image upside down at half the scale, with a weight to watch."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def encode(self, images: Tensor) -> Tensor:
        return self.scale * images.flip(2)

    def decode(self, latents: Tensor) -> Tensor:
        return latents.flip(2) / self.scale


class Recorder(Denoiser):
    """Remembers what it was called with."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.calls: list[tuple[Tensor, Tensor, dict[str, Tensor]]] = []

    def forward(self, noisy: Tensor, timestep: Tensor, condition: Any) -> Tensor:
        self.calls.append((noisy, timestep, dict(condition)))
        return super().forward(noisy, timestep, condition)


def networks(**changes: Any) -> Networks:
    made: dict[str, Any] = {
        "teacher": Recorder(unet()),
        "teacher_schedule": NoiseSchedule.from_scheduler(scheduler()),
        "features": SmoothFeatures(),
        "codec": PatchCodec(),
        "null_condition": {"class_labels": torch.tensor([NULL])},
    }
    return Networks(**(made | changes))


def examples(count: int = 24) -> ExampleBatches:
    draws = torch.Generator().manual_seed(5)
    labels = torch.randint(CLASSES, (count,), generator=draws)
    waves = torch.linspace(0, 3, SIDE)
    bases = torch.stack([torch.sin(waves[:, None] * (k + 1) + waves) for k in range(CLASSES)])
    noise = 0.2 * torch.randn(count, 1, SIDE, SIDE, generator=draws)
    return ExampleBatches(
        (bases[labels][:, None] + noise).clamp(-1, 1),
        {"class_labels": labels},
        text=torch.randn(CLASSES, TEXT_WIDTH, generator=draws)[labels],
        image=torch.randn(count, IMAGE_WIDTH, generator=draws),
    )


def task(
    made: Networks | None = None,
    student: nn.Module | None = None,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    **changes: Any,
) -> AdversarialDistillation:
    made = made or networks()
    chosen = settings(**changes)
    schedule = NoiseSchedule.from_scheduler(scheduler(), chosen.terminal_snr)
    torch.manual_seed(2)  # of the heads
    return AdversarialDistillation(
        student or make_student(made.teacher),
        schedule,
        made,
        chosen,
        text_width=TEXT_WIDTH,
        image_width=IMAGE_WIDTH,
        evaluate=evaluate,
    )


def size_of(student: nn.Module) -> dict[str, float]:
    """Return the mean square of what a student predicts for four images."""
    given = batch(4)
    predicted = student(given.images, torch.full((4,), 500), given.condition)
    return {"size": float(predicted.square().mean())}


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 8) -> Examples:
    return examples().batch(np.arange(count), np.random.default_rng(0))


def run_phase(distillation: AdversarialDistillation, name: str, step: int = 1) -> dict[str, Tensor]:
    """Compute the losses and the gradient of a phase, the others' modules frozen as in the loop."""
    phase = {phase.name: phase for phase in distillation.phases(step)}[name]
    for other, module in distillation.modules.items():
        module.requires_grad_(other in phase.optimizers)
    losses = dict(phase.loss(batch()))
    losses["loss"].backward()
    return losses


def inputs_of(module: nn.Module) -> list[Any]:
    """Return a list that gets the positional arguments of each call of ``module``."""
    seen: list[Any] = []
    module.register_forward_pre_hook(lambda _, given: seen.append(given))
    return seen


def kill_at(distillation: AdversarialDistillation, last: int) -> None:
    """Let a distillation kill its process after a step."""
    after = distillation.after_step

    def kill(step: int) -> None:
        after(step)
        if step == last:
            os.kill(os.getpid(), signal.SIGKILL)

    distillation.after_step = kill  # type: ignore[method-assign]


def main() -> None:
    """Distil one student after another, each in a folder with the name of its fakes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fakes", nargs="+", choices=FAKES, default=["of_each_phase"])
    parser.add_argument("--shard", action="store_true")
    parser.add_argument("--checkpoint-every", type=int)
    parser.add_argument("--kill-at-step", type=int)
    arguments = parser.parse_args()
    run = RUN.model_copy(update={"checkpoint_every": arguments.checkpoint_every})
    for fakes in arguments.fakes:
        student = None
        if arguments.shard:
            PartialState(cpu=True)
            student = shard_student(make_student(networks().teacher))
        distillation = task(student=student, evaluate=size_of, **FAKES[fakes])
        if arguments.kill_at_step:
            kill_at(distillation, arguments.kill_at_step)
        fit(distillation, examples(), run, arguments.folder / fakes)


if __name__ == "__main__":
    main()
