"""The scales of the chapter.

The authors' code states a ConvNet of 32 first channels, batches of 128, 1,001 epochs without
augmentation, a learning rate of 0.01 and a weight decay of 0.001; the other rates are ours. Small
scales take all images at a step, since small batches add jumps of their own to a small set, and
larger rates, so that a period takes a hundred steps.
"""

from __future__ import annotations

from okml.periodic_behavior.settings import (
    PeriodicBehaviorProfile,
    ProblemSettings,
    RateSettings,
)
from okml.profile import Budget, ProfileName


def _rates(learning_rate: float, weight_decay: float) -> RateSettings:
    return RateSettings(learning_rate=learning_rate, weight_decay=weight_decay)


SMOKE = PeriodicBehaviorProfile(
    name="smoke",
    budget=Budget(minutes=1.5, memory_gib=4, disk_gib=1),
    seeds=(0,),
    problems=(
        ProblemSettings(
            images="fashion_mnist", examples=256, side=8, channels=4, epochs=500, batch=256
        ),
    ),
    rates=_rates(0.2, 0.03),
    grid=(_rates(0.2, 0.06),),
    same_product=(_rates(0.4, 0.015),),
    arms=("invariant", "all_weights", "no_decay", "fixed_norm", "plain"),
    other_arms=("invariant",),
    jump=5,
    transient=0.5,
)

CPU = SMOKE.model_copy(
    update={
        "name": "cpu",
        "budget": Budget(minutes=12, memory_gib=8, disk_gib=1),
        "seeds": (0, 1, 2, 3, 4),
        "problems": (SMOKE.main.model_copy(update={"epochs": 2000}),),
        "grid": (_rates(0.2, 0.015), _rates(0.2, 0.06)),
        "same_product": (_rates(0.1, 0.06), _rates(0.4, 0.015)),
    }
)

NIGHT = CPU.model_copy(
    update={
        "name": "night",
        "budget": Budget(minutes=90, memory_gib=12, disk_gib=1),
        "seeds": (0, 1, 2, 3, 4, 5, 6, 7),
        "problems": (
            SMOKE.main.model_copy(
                update={"examples": 512, "side": 16, "channels": 4, "epochs": 2500, "batch": 512}
            ),
        ),
    }
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
    rates=_rates(0.01, 0.001),
    grid=(_rates(0.01, 0.0005), _rates(0.01, 0.002), _rates(0.01, 0.004)),
    same_product=(_rates(0.005, 0.002), _rates(0.02, 0.0005)),
    arms=SMOKE.arms,
    other_arms=("invariant", "all_weights"),
    jump=5,
    transient=0.2,
)

PROFILES: dict[ProfileName, PeriodicBehaviorProfile] = {
    "smoke": SMOKE,
    "cpu": CPU,
    "night": NIGHT,
    "gpu": GPU,
}
