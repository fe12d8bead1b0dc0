"""Adversarial Diffusion Distillation as a task of the one training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from accelerate.utils import reduce, send_to_device
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from okml.add.augment import augment
from okml.add.denoiser import Denoiser
from okml.add.discriminator import Heads, join_conditions
from okml.add.health import CollapseMonitor, gradient_ratio, noise_spread
from okml.add.interfaces import Condition, Examples, Networks
from okml.add.losses import (
    distillation_loss,
    distillation_weight,
    hinge_for_heads,
    hinge_for_student,
    r1_penalty,
)
from okml.add.sampling import predict_sample
from okml.add.schedule import NoiseSchedule
from okml.add.settings import AdamSettings, AddSettings
from okml.add.target import teacher_target
from okml.errors import ParameterError
from okml.training import Losses, Phase, TrainingTask


class StudentOutput(NamedTuple):
    """The student's estimates for a micro-batch.

    Attributes:
        sample: The estimate of x0 in the student's latent space, ``[B, c, h, w]``.
        images: The decoded estimate, ``[B, C, H, W]``.
        pure_noise: Whether its input held no signal, ``[B]``.
    """

    sample: Tensor
    images: Tensor
    pure_noise: Tensor


class FakeFeatures(NamedTuple):
    """Features of generated images and the condition they were made under, for the heads."""

    features: list[Tensor]
    condition: Tensor | None


class AdversarialDistillation(TrainingTask):
    """Trains a student and the discriminator's heads, one after the other in each step.

    ``modules`` are ``student`` (a :class:`Denoiser`) and ``heads``; batches are
    :class:`okml.add.interfaces.Examples`. Run it with :func:`okml.training.fit`; set
    ``ema_decay`` there for the averaged student.

    Logged: ``heads/loss``, ``heads/hinge``, ``heads/r1``, ``student/loss``,
    ``student/adversarial``, ``student/distillation``, ``student/prediction_size`` and
    ``student/target_size`` (root mean squares), and on due steps ``student/noise_spread`` and
    ``student/gradient_ratio`` (adversarial over weighted distillation).

    Args:
        student: A network from :func:`okml.add.student.make_student`.
        schedule: The student's, ``NoiseSchedule.from_scheduler(scheduler, settings.terminal_snr)``.
        networks: The networks that are not trained.
        text_width: The width of c_text; 0 if batches carry none.
        image_width: The width of c_img; 0 if there is none.
        evaluate: A function from the student to metrics by name.
        identity: The values that a checkpoint must share; see :class:`okml.training.TrainingTask`.

    Raises:
        ParameterError: If settings ask for something that ``networks`` or widths lack.
    """

    def __init__(
        self,
        student: Denoiser,
        schedule: NoiseSchedule,
        networks: Networks,
        settings: AddSettings,
        *,
        text_width: int = 0,
        image_width: int = 0,
        evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        _check(settings, schedule, networks, text_width, image_width)
        modules: dict[str, nn.Module] = {"student": student}
        optimizers = {"student": _optimizer(AdamW, student, settings.student_optimizer)}
        self.heads: Heads | None = None
        if settings.adversarial and networks.features is not None:
            width = text_width * settings.condition_text + image_width * settings.condition_image
            self.heads = Heads(networks.features.channels, width, settings.heads)
            modules["heads"] = self.heads
            optimizers["heads"] = _optimizer(Adam, self.heads, settings.head_optimizer)
        schedulers = {
            name: _schedule(optimizers[name], one)
            for name, one in (
                ("student", settings.student_optimizer),
                ("heads", settings.head_optimizer),
            )
            if name in optimizers and (one.warmup_steps or one.decay_steps)
        }
        super().__init__(
            modules,
            optimizers,
            schedulers,
            averaged=("student",),
            identity={"settings": settings.model_dump(mode="json"), **(identity or {})},
        )
        self.schedule = schedule
        self.networks = networks
        self.settings = settings
        self._evaluate = evaluate
        self._monitor = CollapseMonitor(settings.health)
        self._latest: dict[str, list[Tensor]] = {}  # numbers of this step for the monitor
        self._shown: dict[int, FakeFeatures] = {}  # seed of the batch: features of this step
        self._device: torch.device | None = None
        for frozen in self.frozen():
            frozen.requires_grad_(False).eval()

    @property
    def least_micro_batch(self) -> int:
        """The examples that the heads normalize together; one where there are no heads."""
        return 1 if self.heads is None else self.settings.heads.virtual_batch

    def phases(self, step: int) -> Iterable[Phase]:
        """Return ``heads`` then ``student``, or the other way round with ``shared_fakes``."""
        self._latest, self._shown = {}, {}
        student = Phase(partial(self.student_loss, step), ("student",), "student")
        if self.heads is None:
            return (student,)
        heads = Phase(partial(self.heads_loss, step), ("heads",), "heads")
        return (student, heads) if self.settings.shared_fakes else (heads, student)

    # ------------------------------------------------------------------ losses

    def heads_loss(self, step: int, batch: Examples) -> Losses:
        """Return the discriminator's loss, Eq. 3, on a micro-batch."""
        self._place(batch.images.device)
        draws = draws_of(batch, 1)
        if self.settings.shared_fakes:
            fake = self._shown.pop(batch.seed)
        else:
            with torch.no_grad():
                made = self.generate(batch, draws)
                features = self._features(made.images, draws)
                fake = FakeFeatures(features, self._joint_condition(batch, made.pure_noise))
        with torch.no_grad():
            real = self._features(batch.images, draws)
        r1_due = self.settings.r1_weight > 0 and step % self.settings.r1_every == 0
        if r1_due:
            real = [each.float().requires_grad_() for each in real]
        real_logits = self.modules["heads"](real, fake.condition)
        fake_logits = self.modules["heads"](fake.features, fake.condition)
        hinge = hinge_for_heads(real_logits, fake_logits)
        self._note("heads_loss", hinge)
        if not r1_due:
            return {"loss": hinge, "hinge": hinge}
        r1 = r1_penalty(real_logits, real)
        weight = self.settings.r1_weight * self.settings.r1_every
        return {"loss": hinge + weight * r1, "hinge": hinge, "r1": r1}

    def student_loss(self, step: int, batch: Examples) -> Losses:
        """Return the student's loss, Eq. 1, on a micro-batch."""
        self._place(batch.images.device)
        draws = draws_of(batch, 0)
        made = self.generate(batch, draws)
        losses: dict[str, Tensor] = {}
        terms: dict[str, Tensor] = {"prediction_size": _size(made.sample)}
        if self.heads is not None:
            features = self._features(made.images, draws)
            condition = self._joint_condition(batch, made.pure_noise)
            logits = self.modules["heads"](features, condition)
            losses["adversarial"] = hinge_for_student(logits)
            if self.settings.shared_fakes:
                self._shown[batch.seed] = FakeFeatures(
                    [each.detach() for each in features], condition
                )
        if self.settings.distillation != "none":
            losses["distillation"], target = self._distillation(batch, made, draws)
            terms["target_size"] = _size(target)
        weighted = dict(losses)
        if "distillation" in losses:
            weighted["distillation"] = self.settings.distillation_weight * losses["distillation"]
        if len(weighted) == 2 and step % self.settings.health.gradient_ratio_every == 0:
            at = made.images if self.settings.distillation_space == "pixel" else made.sample
            terms["gradient_ratio"] = gradient_ratio(at, **weighted)
        if step % self.settings.health.every == 0:
            terms["noise_spread"] = self._noise_spread(batch, draws)
            self._note("noise_spread", terms["noise_spread"])
        return {"loss": torch.stack(list(weighted.values())).sum(), **losses, **terms}

    def _distillation(
        self, batch: Examples, made: StudentOutput, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return Eq. 4 and the teacher's target in its latent space."""
        networks, settings = self.networks, self.settings
        codec = networks.teacher_codec or networks.codec
        latent = settings.distillation_space == "latent"
        sample = made.sample
        if networks.teacher_codec is not None:  # another latent space is reached through pixels
            with torch.set_grad_enabled(latent):
                sample = codec.encode(made.images)
        first, last = settings.teacher_range
        size = (len(sample),)
        timestep = torch.randint(first, last + 1, size, device=sample.device, generator=draws)
        noise = _noise_like(sample, draws)
        told = batch.teacher_condition
        condition = (
            _encoded(networks.prompt_encoder, batch.condition)
            if told is None
            else _encoded(networks.teacher_prompt_encoder, told)
        )
        detached = sample.detach().float()
        target = teacher_target(networks, settings, detached, timestep, noise, condition)
        schedule = networks.teacher_schedule
        weight = distillation_weight(
            settings.distillation, schedule.alpha(timestep), schedule.sigma(timestep)
        )
        reduction = settings.distillation_reduction
        if latent:
            return distillation_loss(sample, target, weight, reduction), target
        with torch.no_grad():
            pixels = codec.decode(target)
        return distillation_loss(made.images, pixels, weight, reduction), target

    # ------------------------------------------------------------------ parts

    def generate(self, batch: Examples, draws: torch.Generator) -> StudentOutput:
        """Let the student denoise real images at one of its timesteps each (section 3.1)."""
        real = self._real_latents(batch)
        timestep = self._student_timesteps(len(real), draws, real.device)
        noisy = self.schedule.add_noise(real, _noise_like(real, draws), timestep)
        sample = self._predict(noisy, timestep, batch)
        with_signal, _ = self.schedule.coefficients(timestep, timestep, noising=True)
        return StudentOutput(sample, self.networks.codec.decode(sample), with_signal == 0)

    def _predict(self, noisy: Tensor, timestep: Tensor, batch: Examples) -> Tensor:
        condition = _encoded(self.networks.prompt_encoder, batch.condition)
        return predict_sample(self.modules["student"], self.schedule, noisy, timestep, condition)

    def _student_timesteps(self, size: int, draws: torch.Generator, device: torch.device) -> Tensor:
        """Draw tau, each as often as the others, ``[size]``."""
        # Filled on the device, since a copy to it would wait for all that it has to do.
        known = torch.stack(
            [torch.full((), tau, device=device) for tau in self.settings.student_timesteps]
        )
        even = torch.ones(len(known), device=device)
        return known[torch.multinomial(even, size, replacement=True, generator=draws)]

    def _features(self, images: Tensor, draws: torch.Generator) -> list[Tensor]:
        """Return F of augmented images; differentiable."""
        if self.networks.features is None:
            raise AssertionError("checked in __init__")
        features: list[Tensor] = self.networks.features(
            augment(images, self.settings.augment, draws)
        )
        return features

    @torch.no_grad()
    def _joint_condition(self, batch: Examples, pure_noise: Tensor) -> Tensor | None:
        """Return the joint condition of the heads, ``[B, D]``, for real and generated images."""
        settings = self.settings
        text = batch.text if settings.condition_text else None
        image = batch.image if settings.condition_image else None
        hidden = pure_noise if settings.image_condition_at_pure_noise == "null" else None
        return join_conditions(text, image, settings.heads, hidden)

    @torch.no_grad()
    def _real_latents(self, batch: Examples) -> Tensor:
        if batch.latents is not None:
            return batch.latents
        return self.networks.codec.encode(batch.images)

    # ------------------------------------------------------------------ health and state

    @torch.no_grad()
    def _noise_spread(self, batch: Examples, draws: torch.Generator) -> Tensor:
        """Return how far apart two noises lead from the last timestep."""
        real = self._real_latents(batch)
        last = torch.full((len(real),), self.settings.student_timesteps[-1], device=real.device)
        one, other = (self._predict(_noise_like(real, draws), last, batch) for _ in range(2))
        return noise_spread(one, other, real)

    def _note(self, name: str, value: Tensor) -> None:
        self._latest.setdefault(name, []).append(value.detach().float())

    def after_step(self, step: int) -> None:
        """Renew the spectral norms, and look for collapse on due steps."""
        if self.heads is not None:
            self.heads.iterate_norms()
        if "noise_spread" not in self._latest:
            return
        own = torch.stack([torch.stack(values).mean() for values in self._latest.values()])
        # Equal on all processes, so that all of them stop or none; read at once, in one wait.
        means = dict(zip(self._latest, reduce(own, "mean").tolist(), strict=True))
        heads = 0 if self.heads is None else len(self.heads.heads)
        self._monitor.check(step, means["noise_spread"], means.get("heads_loss"), heads)

    def evaluate(self) -> Mapping[str, float]:
        """Return the metrics of the student as it is."""
        return self._evaluate(self.modules["student"]) if self._evaluate else {}

    def state(self) -> dict[str, Any]:
        """Return the monitor's counts."""
        monitor = self._monitor
        return {
            "flat": monitor.flat,
            "beaten": monitor.beaten,
            "reported": list(monitor.reported),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take the monitor's counts back."""
        self._monitor.flat, self._monitor.beaten = state["flat"], state["beaten"]
        self._monitor.reported = tuple(state["reported"])

    def frozen(self) -> list[nn.Module]:
        """Return the networks that are not trained."""
        networks = self.networks
        all_ = (
            networks.teacher,
            networks.features,
            networks.codec,
            networks.teacher_codec,
            networks.prompt_encoder,
            networks.teacher_prompt_encoder,
        )
        return [network for network in all_ if network is not None]

    def _place(self, device: torch.device) -> None:
        """Move the frozen networks, which the loop does not know, to the device of the batches."""
        if device == self._device:
            return
        for frozen in self.frozen():
            frozen.to(device)
        self.networks = replace(
            self.networks,
            null_condition=send_to_device(self.networks.null_condition, device),
            negative_condition=send_to_device(self.networks.negative_condition, device),
        )
        self._device = device


def _check(
    settings: AddSettings,
    schedule: NoiseSchedule,
    networks: Networks,
    text_width: int,
    image_width: int,
) -> None:
    if settings.adversarial and networks.features is None:
        raise ParameterError("The adversarial loss needs a feature network.", "Set features.")
    if settings.adversarial and settings.condition_text and not text_width:
        raise ParameterError(
            "The heads are to be conditioned on text, and the width of c_text is 0.",
            "Pass text_width, or set condition_text to false.",
        )
    if settings.adversarial and settings.condition_image and not image_width:
        raise ParameterError(
            "The heads are to be conditioned on images, and the width of c_img is 0.",
            "Pass image_width, or set condition_image to false.",
        )
    needs_null = settings.distillation == "nfsd" or (
        settings.distillation != "none" and settings.guidance != 1
    )
    if needs_null and networks.null_condition is None:
        raise ParameterError(
            f"Distillation {settings.distillation!r} with guidance {settings.guidance:g} needs the "
            "teacher's empty condition.",
            "Set null_condition of the networks, or teacher_guidance to 1.",
        )
    longest = {
        "student_timesteps": (settings.student_timesteps[-1], len(schedule)),
        "teacher_timesteps": (settings.teacher_range[1], len(networks.teacher_schedule)),
    }
    for name, (last, length) in longest.items():
        if last >= length:
            raise ParameterError(f"{name} goes up to {last}; the schedule has {length} timesteps.")


def _optimizer(kind: type[Adam], module: nn.Module, settings: AdamSettings) -> Optimizer:
    return kind(
        module.parameters(),
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
    )


def _schedule(optimizer: Optimizer, settings: AdamSettings) -> LambdaLR:
    def factor(done: int) -> float:
        risen = min(1.0, (done + 1) / max(1, settings.warmup_steps))
        fallen = max(0.0, 1 - done / settings.decay_steps) if settings.decay_steps else 1.0
        return risen * fallen

    return LambdaLR(optimizer, factor)


@torch.no_grad()
def _encoded(encoder: nn.Module | None, condition: Condition) -> Condition:
    return condition if encoder is None else encoder(condition)


def draws_of(batch: Examples, stream: int) -> torch.Generator:
    """Return the random numbers of one phase on a micro-batch."""
    generator = torch.Generator(batch.images.device)
    # A step of a large odd number keeps streams of neighboring seeds apart.
    return generator.manual_seed((batch.seed + stream * 0x9E3779B97F4A7C15) % 2**63)


def _noise_like(value: Tensor, draws: torch.Generator) -> Tensor:
    return torch.randn(value.shape, device=value.device, generator=draws)


def _size(value: Tensor) -> Tensor:
    return value.detach().float().square().mean().sqrt()
