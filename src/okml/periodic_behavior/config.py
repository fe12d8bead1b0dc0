"""The scales of the chapter.

The authors' code states a ConvNet of 32 first channels, batches of 128, 1,001 epochs without
augmentation, a learning rate of 0.01 and a weight decay of 0.001; the other rates are ours. Small
scales take all images at a step, since small batches add jumps of their own to a small set, and
larger rates, so that a period takes a hundred steps, or half of that at `smoke`.
"""

from __future__ import annotations

from okml.periodic_behavior.settings import (
    PeriodicBehaviorProfile,
    ProblemSettings,
    RateSettings,
)
from okml.profile import Budget, by_name

SMOKE = PeriodicBehaviorProfile(
    name="smoke",
    budget=Budget(minutes=1.5, memory_gib=4, disk_gib=1),
    seeds=(0,),
    problems=(
        ProblemSettings(
            images="fashion_mnist", examples=128, side=8, channels=4, epochs=240, batch=128
        ),
    ),
    # Periods of 40 steps; at half of this decay they are longer, and some seeds have only one.
    rates=RateSettings(learning_rate=0.25, weight_decay=0.05),
    decays=(0.1,),
    learning_rates=(0.5,),
    spheres=("sphere_70",),
    transient=0.3,
)

CPU = PeriodicBehaviorProfile(
    name="cpu",
    budget=Budget(minutes=12, memory_gib=8, disk_gib=1),
    seeds=(0, 1, 2, 3, 4),
    problems=(
        ProblemSettings(
            images="fashion_mnist", examples=256, side=8, channels=4, epochs=2000, batch=256
        ),
    ),
    rates=RateSettings(learning_rate=0.2, weight_decay=0.03),
    decays=(0.015, 0.06),
    learning_rates=(0.1, 0.4),
    transient=0.5,
)

# More seeds and longer trainings, and what `cpu` has no time for: the loss over the radius of a
# sphere, and each decay with each learning rate.
NIGHT = PeriodicBehaviorProfile(
    name="night",
    budget=Budget(minutes=60, memory_gib=8, disk_gib=1),
    seeds=tuple(range(8)),
    problems=(CPU.main.model_copy(update={"epochs": 3000}),),
    rates=CPU.rates,
    decays=CPU.decays,
    learning_rates=CPU.learning_rates,
    crossed=True,
    spheres=("sphere_85", "sphere_70", "sphere_60", "sphere_50", "sphere_25"),
    transient=0.5,
)

_CIFAR10 = ProblemSettings(
    images="cifar10", examples=50_000, side=32, channels=32, epochs=1001, batch=128
)
_RESNET = _CIFAR10.model_copy(update={"network": "resnet18"})

GPU = PeriodicBehaviorProfile(
    name="gpu",
    budget=Budget(minutes=120 * 60, memory_gib=16, disk_gib=20, gpu_memory_gib=20),
    seeds=(0, 1, 2),
    problems=(
        _CIFAR10,
        _CIFAR10.model_copy(update={"images": "cifar100"}),
        _RESNET,
        _RESNET.model_copy(update={"images": "cifar100"}),
    ),
    rates=RateSettings(learning_rate=0.01, weight_decay=0.001),
    decays=(0.0005, 0.002, 0.004),
    learning_rates=(0.005, 0.02),
    crossed=True,
    spheres=("sphere_85", "sphere_70", "sphere_60", "sphere_50", "sphere_25"),
    transient=0.2,
)

PROFILES = by_name(SMOKE, CPU, NIGHT, GPU)
