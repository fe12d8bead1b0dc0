"""The three scales of the chapter."""

from __future__ import annotations

from okml.add.profile_settings import AddProfile, DistillationRun, SetSettings
from okml.add.settings import AddSettings, AugmentSettings, HeadSettings, OptimizerSettings
from okml.add.small.pretraining import PretrainingSettings
from okml.add.small.vit import VitSettings
from okml.profile import Budget, ProfileName

NO_AUGMENTATION = AugmentSettings(brightness=0, saturation=0, contrast=0, translation=0, cutout=0)

# What differs from the paper at small sizes, and why, stands in the chapter's last section.
SMALL = AddSettings(
    terminal_snr="rescale",
    teacher_timesteps=(20, 980),
    teacher_guidance=1.0,
    nfsd_guidance=2.0,
    r1_every=8,
    image_condition_at_pure_noise="null",
    heads=HeadSettings(condition_scale="root_width"),
    augment=NO_AUGMENTATION,
    shared_fakes=True,
    student_optimizer=OptimizerSettings(learning_rate=1e-4, warmup_steps=50),
    head_optimizer=OptimizerSettings(learning_rate=5e-3),
)

CPU = AddProfile(
    name="cpu",
    budget=Budget(minutes=12, memory_gib=8, disk_gib=1),
    seeds=(0, 1, 2),
    add=SMALL,
    sets=(
        SetSettings(
            images="digits", size=8, channels=(16, 32),
            teacher=PretrainingSettings(steps=800, batch=64, learning_rate=2e-3, ema_decay=0.999),
            metric=PretrainingSettings(steps=250, batch=64, learning_rate=2e-3, warmup_steps=20),
            vit=VitSettings(width=32),
            vit_training=PretrainingSettings(steps=500, batch=64, learning_rate=2e-3),
            distillation=DistillationRun(steps=200, batch=32),
        ),
    ),
)  # fmt: skip

PROFILES: dict[ProfileName, AddProfile] = {"cpu": CPU}
