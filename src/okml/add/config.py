"""The four scales of the chapter."""

from __future__ import annotations

from typing import Any

from okml.add.full_scale.settings import TABLE_1, FullScaleSettings, ReleasedSettings
from okml.add.profile_settings import (
    AddProfile,
    DistillationRun,
    PublishedSettings,
    SetSettings,
    SpeedSettings,
)
from okml.add.settings import AdamSettings, AddSettings, AugmentSettings, DiscriminatorSettings
from okml.add.small.pretraining import SupervisedSettings, TeacherSettings
from okml.add.small.vit import VitSettings
from okml.profile import Budget, by_name

# A pixel is much of an 8 by 8 image: shifts and cut-outs would change what it shows.
NO_AUGMENTATION = AugmentSettings(brightness=0, saturation=0, contrast=0, translation=0, cutout=0)

# What differs from the paper at small sizes, and why, stands in the chapter's last section.
SMALL = AddSettings(
    terminal_snr="rescale",
    teacher_timesteps=(20, 980),
    teacher_guidance=1.0,
    nfsd_guidance=2.0,
    r1_every=8,
    image_condition_at_pure_noise="null",
    heads=DiscriminatorSettings(condition_scale="root_width"),
    augment=NO_AUGMENTATION,
    shared_fakes=True,
    student_optimizer=AdamSettings(learning_rate=7e-5, warmup_steps=20),
    head_optimizer=AdamSettings(learning_rate=5e-3),
)

# Where a student has fewer steps, or harder pictures, the rate above leaves it where it began.
LARGER_RATE = AdamSettings(learning_rate=2e-4, warmup_steps=20)


def _steps(count: int, warmup: int = 100) -> SupervisedSettings:
    return SupervisedSettings(steps=count, batch=64, learning_rate=2e-3, warmup_steps=warmup)


def _teacher_steps(
    count: int, ema_decay: float, batch: int = 64, warmup: int = 100
) -> TeacherSettings:
    return TeacherSettings(
        steps=count, batch=batch, learning_rate=2e-3, warmup_steps=warmup, ema_decay=ema_decay
    )


SMOKE = AddProfile(
    name="smoke",
    budget=Budget(minutes=1.5, memory_gib=4, disk_gib=1),
    seeds=(0,),
    sets=(
        SetSettings(
            images="digits", size=8, channels=(16, 32),
            add=SMALL.model_copy(update={"student_optimizer": LARGER_RATE}),
            teacher=_teacher_steps(300, warmup=30, ema_decay=0.98),
            metric=_steps(80, warmup=10),
            vit=VitSettings(width=48, depth=2), vit_training=_steps(120, warmup=20),
            distillation=DistillationRun(steps=60, batch=32, ema_decay=0.95),
            arms=("random_student", "distillation_only"),
            alternatives=("consistency", "progressive"),
            teacher_steps=(1, 4, 25), solver_steps=(4,), samples=200, watch=4,
        ),
    ),
    speed=SpeedSettings(repeats=3),
)  # fmt: skip

# Factors on the learning rates that all try whom claims compare, and how many more beyond an end.
RATES: dict[str, Any] = {"rates": (0.25, 1.0, 4.0), "more_rates": 2}

# The digits of `cpu` and `night`, which differ in what they train and for how long.
DIGITS: dict[str, Any] = {
    "images": "digits", "size": 8, "channels": (16, 32), "add": SMALL,
    "teacher": _teacher_steps(800, ema_decay=0.999), "metric": _steps(250, warmup=20),
    "vit": VitSettings(width=48, depth=2), "vit_training": _steps(400),
    "distillation": DistillationRun(steps=800, batch=64, ema_decay=0.99), **RATES,
    "teacher_steps": (1, 2, 4, 25), "samples": 750, "watch": 20,
}  # fmt: skip

# There is no time to choose a rate for each arm and rival, so none is trained: claims that compare
# trainings are left to `night`.
CPU = AddProfile(
    name="cpu",
    budget=Budget(minutes=12, memory_gib=8, disk_gib=1),
    seeds=(0, 1, 2),
    sets=(
        SetSettings(**DIGITS, solver_steps=(4,)),
    ),
)  # fmt: skip

# Emoji with captions, and clothes at `gpu`: the teacher is guided, as people sample it, and what
# the heads see is augmented, as in the paper.
CAPTIONED = SMALL.model_copy(
    update={
        "teacher_guidance": 1.5,
        "augment": AugmentSettings(),
        "student_optimizer": LARGER_RATE,
    }
)

# Long trainings of the digits become level, which those of emoji do not; so all claims are about
# the digits, where every arm and rival searches for its learning rate. The emoji show what the same
# recipe does to captioned pictures in color, and compare no trainings.
NIGHT = AddProfile(
    name="night",
    budget=Budget(minutes=90, memory_gib=12, disk_gib=2),
    seeds=(0, 1, 2, 3, 4),
    sets=(
        SetSettings(
            **DIGITS,
            # Claims compare with each of them, so each runs with every seed.
            arms=(
                "image_kept_at_noise", "random_student", "adversarial_only", "distillation_only",
                "summed_distance", "decayed",
            ),
            alternatives=("consistency", "progressive"),
            solver_steps=(2, 4, 8),
        ),
        SetSettings(
            images="emoji", size=32, text="sentences", patch=2, channels=(32, 64, 64), seeds=1,
            add=CAPTIONED,
            teacher=_teacher_steps(4800, batch=32, ema_decay=0.999),
            metric=_steps(400, warmup=20),
            eye="efficientnet", efficientnet_side=64,
            distillation=DistillationRun(steps=300, batch=32, ema_decay=0.97),
            teacher_steps=(1, 2, 4, 25), solver_steps=(2, 4, 8), samples=500, watch=15,
        ),
    ),
    speed=SpeedSettings(repeats=3),
)  # fmt: skip

# A checkpoint of SDXL's student has 41 GB; every 250 steps it would take a tenth of the hours.
_SELDOM_KEPT = FullScaleSettings().training.model_copy(
    update={"checkpoint_every": 1_000, "checkpoint_minutes": 60}
)

GPU = AddProfile(
    name="gpu",
    budget=Budget(minutes=180 * 60, memory_gib=64, disk_gib=900, gpu_memory_gib=80),
    seeds=(0, 1, 2),
    sets=(
        SetSettings(
            images="emoji", size=64, text="sentences", channels=(64, 128, 256, 256), add=CAPTIONED,
            # Two hundred passes: a teacher of more would learn the pictures by heart, and distances
            # are taken from them.
            teacher=_teacher_steps(2_400, batch=128, warmup=200, ema_decay=0.999),
            metric=_steps(2000), eye="efficientnet", efficientnet_side=128,
            distillation=DistillationRun(steps=4000, batch=128, ema_decay=0.998),
            arms=(
                "image_kept_at_noise", "random_features", "random_student", "adversarial_only",
                "distillation_only", "blind",
            ),
            arms_once=(
                "no_condition", "text_only", "image_only", "sds", "nfsd", "four_teacher_steps",
                "summed_distance", "decayed",
            ),
            alternatives=("consistency", "progressive"), **RATES, samples=5000,
        ),
        SetSettings(
            images="fashion", size=32, channels=(64, 128, 256), add=CAPTIONED,
            most_images=20_000,
            teacher=_teacher_steps(16_000, batch=256, warmup=1000, ema_decay=0.9995),
            metric=_steps(5000), eye="efficientnet", efficientnet_side=96,
            distillation=DistillationRun(steps=4000, batch=128, ema_decay=0.998),
            arms=("image_kept_at_noise", "random_features", "distillation_only"),
            alternatives=("consistency", "progressive"), **RATES, samples=10_000,
        ),
    ),
    published=PublishedSettings(
        base=FullScaleSettings(training=_SELDOM_KEPT),
        rows=tuple(TABLE_1),
        released=ReleasedSettings(students=("sdxl", "sd21"), teachers=("sd15", "sd21", "sdxl")),
    ),
)  # fmt: skip

PROFILES = by_name(SMOKE, CPU, NIGHT, GPU)
