"""Adversarial diffusion distillation: the student beside its teacher, the trainer beside a loop.

Three questions, each answered in one run on one machine:

- how many images a second a student draws in one step, beside its teacher in fifty (DDIM), at the
  same batch size and by the same network;
- how many steps a second the trainer takes, beside a loop written as diffusers' training examples
  are (accelerate, ``EMAModel``, one optimizer after the other) over the same networks and losses.
  Both start from the same weights and draws, and must end with the same student;
- how much memory a step of the student takes with gradient checkpointing and without, each in a
  process of its own.

The rows that need a GPU are measured where there is one; elsewhere the run says what they need.

    python benchmarks/distillation.py --out distillation.json
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn import functional

from okml.add.augment import augment
from okml.add.denoiser import Denoiser
from okml.add.discriminator import Heads, join_conditions
from okml.add.examples import ExampleBatches
from okml.add.interfaces import Examples, FeatureNetwork, Networks
from okml.add.losses import (
    distillation_loss,
    distillation_weight,
    hinge_for_heads,
    hinge_for_student,
    r1_penalty,
)
from okml.add.sampling import predict_sample, sample_student, sample_teacher
from okml.add.schedule import NoiseSchedule
from okml.add.settings import AdamSettings, AddSettings, HealthSettings
from okml.add.small.patches import PatchCodec
from okml.add.student import make_student
from okml.add.task import AdversarialDistillation, draws_of
from okml.benchmark import (
    BenchmarkRecord,
    Check,
    Figures,
    PeerComparison,
    alone,
    in_turns,
    medians,
    parser_of,
    write_benchmark,
)
from okml.runtime import peak_memory_gib, progress, seed_everything
from okml.training import TrainingSettings, fit
from okml.training.batches import DataOrder, micro_batches

SIDE, CHANNELS, CLASSES = 16, 3, 10
BATCH = 64
TEXT_WIDTH, IMAGE_WIDTH = 32, 64
TEACHER_STEPS = 50
WARM = 5  # steps before the clock starts
AGREE = 1e-3  # of the students after the loops; accumulated rounding of reordered sums
# No measurements of health: the loop beside it has none.
NEVER = 10**9
SETTINGS = AddSettings(
    terminal_snr="noise_only",
    student_optimizer=AdamSettings(learning_rate=1e-5),
    head_optimizer=AdamSettings(learning_rate=1e-3),
    health=HealthSettings(every=NEVER, gradient_ratio_every=NEVER),
)
GPU_ROWS = {
    "time of SDXL-Turbo at 1 to 4 steps, and its memory": (
        "python -m okml.add.full_scale released",
        "a GPU with 12 GiB and the 13.9 GB of SDXL-Turbo from the hub",
    ),
    "steps a second of SD 2.1 at full scale": (
        "accelerate launch -m okml.add.full_scale train --run-dir RUN",
        "a CUDA device with 50 GiB, Stable Diffusion 2.1-base from the hub and prepared shards",
    ),
}


def scheduler() -> DDPMScheduler:
    return DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def unet(widths: tuple[int, ...] = (32, 64), side: int = SIDE) -> UNet2DModel:
    plain = ("DownBlock2D",) * (len(widths) - 1), ("UpBlock2D",) * (len(widths) - 1)
    return UNet2DModel(
        sample_size=side,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=(*plain[0], "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", *plain[1]),
        norm_num_groups=8,
        attention_head_dim=16,
        num_class_embeds=CLASSES + 1,
    )


class ConvolutionalFeatures(FeatureNetwork):
    """Feature maps after three random convolutions."""

    channels = (32, 64, 64)

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=1 + (a > CHANNELS), padding=1)
            for a, b in itertools.pairwise((CHANNELS, *self.channels))
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps, ``[B, C_k, H_k W_k]`` each."""
        x = images
        return [(x := functional.gelu(stage(x))).flatten(2) for stage in self.stages]


def source() -> ExampleBatches:
    draws = torch.Generator().manual_seed(0)
    count = 8 * BATCH
    labels = torch.randint(CLASSES, (count,), generator=draws)
    return ExampleBatches(
        torch.rand(count, CHANNELS, SIDE, SIDE, generator=draws) * 2 - 1,
        {"class_labels": labels},
        text=torch.randn(CLASSES, TEXT_WIDTH, generator=draws)[labels],
        image=torch.randn(count, IMAGE_WIDTH, generator=draws),
    )


def networks() -> Networks:
    seed_everything(0)
    return Networks(
        teacher=Denoiser(unet()).eval(),
        teacher_schedule=NoiseSchedule.from_scheduler(scheduler()),
        features=ConvolutionalFeatures(),
        codec=PatchCodec(),
    )


def run_settings(steps: int, seed: int) -> TrainingSettings:
    return TrainingSettings(
        batch_size=BATCH, max_steps=steps, ema_decay=0.999, gradient_clip=1.0,
        log_every=WARM, device="cpu", seed=seed,
    )  # fmt: skip


# ---------------------------------------------------------------- the trainer and the loop


def train_okml(steps: int, seed: int) -> tuple[float, nn.Module]:
    """Return steps a second of the trainer, and the student."""
    made = networks()
    schedule = NoiseSchedule.from_scheduler(scheduler(), SETTINGS.terminal_snr)
    seed_everything(seed)
    task = AdversarialDistillation(
        make_student(made.teacher), schedule, made, SETTINGS,
        text_width=TEXT_WIDTH, image_width=IMAGE_WIDTH,
    )  # fmt: skip
    seconds = fit(task, source(), run_settings(steps, seed)).frame["seconds"]
    return (steps - WARM) / (seconds[-1] - seconds[0]), task.modules["student"]


class Loop:
    """The same distillation in the style of diffusers' examples: everything in one function."""

    def __init__(self, seed: int) -> None:
        AcceleratorState._reset_state(reset_partial_state=True)
        self.accelerator = Accelerator(cpu=True)
        made = networks()
        self.teacher, self.features = made.teacher, made.features
        self.teacher.requires_grad_(False)
        self.features.requires_grad_(False)
        self.teacher_schedule = made.teacher_schedule
        self.schedule = NoiseSchedule.from_scheduler(scheduler(), SETTINGS.terminal_snr)
        seed_everything(seed)
        student = make_student(self.teacher)
        heads = Heads(self.features.channels, TEXT_WIDTH + IMAGE_WIDTH, SETTINGS.heads)
        one, other = SETTINGS.student_optimizer, SETTINGS.head_optimizer
        by_student = torch.optim.AdamW(
            student.parameters(), one.learning_rate, one.betas, weight_decay=0.0
        )
        by_heads = torch.optim.Adam(heads.parameters(), other.learning_rate, other.betas)
        self.student, self.heads, self.by_student, self.by_heads = self.accelerator.prepare(
            student, heads, by_student, by_heads
        )
        self.average = EMAModel(student.parameters(), decay=0.999)

    def generate(self, batch: Examples, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the student's samples and the condition of the heads."""
        known = torch.tensor(SETTINGS.student_timesteps)
        chosen = torch.multinomial(
            torch.ones(len(known)), len(batch.images), replacement=True, generator=draws
        )
        noise = torch.randn(batch.images.shape, generator=draws)
        noisy = self.schedule.add_noise(batch.images, noise, known[chosen])
        told = batch.condition
        made = predict_sample(self.student, self.schedule, noisy, known[chosen], told)
        return made, join_conditions(batch.text, batch.image, SETTINGS.heads)

    def step(self, batch: Examples) -> None:
        """Update the heads, then the student."""
        heads, student = self.heads, self.student
        draws = draws_of(batch, 1)
        self.by_heads.zero_grad()
        with torch.no_grad():
            fake, condition = self.generate(batch, draws)
            fake_features = self.features(augment(fake, SETTINGS.augment, draws))
            real_features = self.features(augment(batch.images, SETTINGS.augment, draws))
        real_features = [each.requires_grad_() for each in real_features]
        real_logits = heads(real_features, condition)
        loss = hinge_for_heads(real_logits, heads(fake_features, condition))
        loss = loss + SETTINGS.r1_weight * r1_penalty(real_logits, real_features)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(heads.parameters(), 1.0)
        self.by_heads.step()
        loss.item()

        draws = draws_of(batch, 0)
        self.by_student.zero_grad()
        heads.requires_grad_(False)
        fake, condition = self.generate(batch, draws)
        logits = heads(self.features(augment(fake, SETTINGS.augment, draws)), condition)
        first, last = SETTINGS.teacher_range
        at = torch.randint(first, last + 1, (len(fake),), generator=draws)
        with torch.no_grad():
            noise = torch.randn(fake.shape, generator=draws)
            noisy = self.teacher_schedule.add_noise(fake, noise, at)
            target = predict_sample(self.teacher, self.teacher_schedule, noisy, at, batch.condition)
        weight = distillation_weight(
            SETTINGS.distillation,
            self.teacher_schedule.alpha(at),
            self.teacher_schedule.sigma(at),
        )
        loss = hinge_for_student(logits)
        loss = loss + SETTINGS.distillation_weight * distillation_loss(fake, target, weight)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(student.parameters(), 1.0)
        self.by_student.step()
        heads.requires_grad_(True)
        heads.iterate_norms()
        self.average.step(student.parameters())
        loss.item()


def train_loop(steps: int, seed: int) -> tuple[float, nn.Module]:
    """Return steps a second of the loop, and the student; batches are those of the trainer."""
    loop, examples = Loop(seed), source()
    order = DataOrder(len(examples), BATCH, "epoch", seed)
    started, done = 0.0, 0
    for epoch in range(steps):
        for ((batch, _),) in micro_batches(examples, order, epoch, 0, rank=0, workers=0):
            loop.step(batch)
            done += 1
            if done == WARM:
                started = time.perf_counter()
            if done == steps:
                return (steps - WARM) / (time.perf_counter() - started), loop.student
    raise AssertionError("an epoch has at least one step")


def difference(one: nn.Module, other: nn.Module, start: nn.Module) -> float:
    """Return how far two students are apart, over how far they went."""
    values = [torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (one, other)]
    initial = torch.cat([p.detach().flatten() for p in start.parameters()])
    return float((values[0] - values[1]).norm() / (values[1] - initial).norm())


# ---------------------------------------------------------------- sampling and memory


def sampling_rates(repeats: int) -> dict[str, float]:
    """Return images a second of the student's one step and of the teacher's fifty."""
    denoiser = networks().teacher
    schedule = NoiseSchedule.from_scheduler(scheduler(), SETTINGS.terminal_snr)
    noise = torch.randn(BATCH, CHANNELS, SIDE, SIDE)
    told = {"class_labels": torch.randint(CLASSES, (BATCH,))}
    of_student: Callable[[], Tensor] = partial(sample_student, denoiser, schedule, noise, told)
    of_teacher = partial(sample_teacher, denoiser, scheduler(), noise, told, TEACHER_STEPS)
    # The student draws more often, so that both are measured over a similar time. It comes first
    # and warms the network up for both.
    figures, _ = in_turns({"student": of_student}, repeats * TEACHER_STEPS // 2, warm=2)
    figures |= in_turns({"teacher": of_teacher}, repeats)[0]
    return {name: BATCH / of["seconds"] for name, of in figures.items()}


def peak_of_a_step(checkpointing: bool, threads: int) -> float:
    """Return GiB that a student's forward and backward pass adds to those of the process."""
    torch.set_num_threads(threads)
    seed_everything(0)
    teacher = Denoiser(unet((64, 128, 256), side=64))
    student = make_student(teacher, gradient_checkpointing=checkpointing)
    del teacher
    noisy = torch.randn(16, CHANNELS, 64, 64)
    told = {"class_labels": torch.zeros(16, dtype=torch.long)}
    at = torch.full((16,), 999)
    before = peak_memory_gib()
    student(noisy, at, told).square().mean().backward()
    return peak_memory_gib() - before


def record(arguments: argparse.Namespace) -> BenchmarkRecord:
    torch.set_num_threads(arguments.threads)
    rounds: list[Figures] = []
    apart = 0.0
    for seed in progress(range(arguments.rounds), "rounds"):
        ours, student = train_okml(arguments.steps, seed)
        theirs, peer = train_loop(arguments.steps, seed)
        apart = max(apart, difference(student, peer, networks().teacher))
        rounds.append({"okml": ours, "loop": theirs, **sampling_rates(arguments.repeats)})
    rates = medians(rounds)
    plain, checkpointed = (alone(peak_of_a_step, on, arguments.threads) for on in (False, True))
    shared: dict[str, Any] = {"repeats": arguments.rounds}
    return write_benchmark(
        arguments.out,
        "Adversarial diffusion distillation",
        f"A UNet of {sum(p.numel() for p in unet().parameters()):,} weights on {SIDE} by {SIDE} "
        f"colour images, batches of {BATCH}, {arguments.threads} threads; a training step updates "
        "heads and student. Memory is of a step on 64 by 64 images in batches of 16, by a UNet of "
        f"{sum(p.numel() for p in unet((64, 128, 256)).parameters()):,} weights. "
        + ("" if torch.cuda.is_available() else not_run()),
        [
            PeerComparison(
                what="sampling: one step of the student", unit="images/s", better="higher",
                peer=f"its teacher in {TEACHER_STEPS} DDIM steps",
                okml_value=rates["student"], peer_value=rates["teacher"], **shared,
            ),
            PeerComparison(
                what="training", unit="steps/s", better="higher",
                peer="a loop in the style of diffusers' examples",
                okml_value=rates["okml"], peer_value=rates["loop"], **shared,
            ),
            PeerComparison(
                what="memory of a step with gradient checkpointing", unit="GiB",
                peer="the same step without",
                okml_value=checkpointed, peer_value=plain,
            ),
        ],
        [
            Check(
                what=f"the student after {arguments.steps} steps of the trainer and of the loop, "
                "over how far it went",
                difference=apart, tolerance=AGREE,
            )
        ],
    )  # fmt: skip


def not_run() -> str:
    """Say what the rows need that this machine cannot measure."""
    rows = [f"{what} (`{command}`) needs {needs}" for what, (command, needs) in GPU_ROWS.items()]
    return "Not measured here: " + "; ".join(rows) + "."


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--steps", type=int, default=12, help="of training, a round")
    parser.add_argument("--repeats", type=int, default=1, help="drawings of the teacher, a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    print(record(parser.parse_args()))


if __name__ == "__main__":
    main()
