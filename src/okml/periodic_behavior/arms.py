"""What is compared with what, and the trainings that it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from okml.periodic_behavior.settings import (
        PeriodicBehaviorProfile,
        ProblemSettings,
        RateSettings,
    )

# BatchNorm without parameters, with them, or none.
Normalization = Literal["fixed", "affine", "none"]


@dataclass(frozen=True)
class Arm:
    """One kind of training.

    Attributes:
        label: The name in figures and tables.
        normalization: The kind of batch normalization.
        all_weights: Whether the last layer, whose scale matters, is trained too.
        decays: Whether there is weight decay.
        fixed_norm: Whether each step ends on the sphere of the initial norm.
    """

    label: str
    normalization: Normalization = "fixed"
    all_weights: bool = False
    decays: bool = True
    fixed_norm: bool = False


ARMS = {
    "invariant": Arm("scale-invariant weights"),
    "all_weights": Arm("all weights", normalization="affine", all_weights=True),
    "no_decay": Arm("no weight decay", decays=False),
    "fixed_norm": Arm("norm held fixed", fixed_norm=True),
    "plain": Arm("no batch normalization", normalization="none", all_weights=True),
}
NEEDED = tuple(ARMS)  # each is the subject or the control of a claim


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        problem: The images and the network.
        arm: The name of the arm.
        rates: Learning rate and weight decay; arms without decay leave the latter out.
        seed: The seed of weights and batches.
    """

    problem: ProblemSettings
    arm: str
    rates: RateSettings
    seed: int

    @property
    def decay(self) -> float:
        """The weight decay of the training."""
        return self.rates.weight_decay if ARMS[self.arm].decays else 0.0


def arm_jobs(profile: PeriodicBehaviorProfile) -> list[Job]:
    """Return the trainings of all arms: the first problem's, then the others'."""
    named = [(profile.main, profile.arms)]
    named += [(problem, profile.other_arms) for problem in profile.problems[1:]]
    return [
        Job(problem, arm, profile.rates, seed)
        for problem, arms in named
        for arm in arms
        for seed in profile.seeds
    ]


def rate_jobs(profile: PeriodicBehaviorProfile) -> list[Job]:
    """Return the trainings of scale-invariant weights with other rates, on the first problem."""
    return [
        Job(profile.main, "invariant", rates, seed)
        for rates in (*profile.grid, *profile.same_product)
        for seed in profile.seeds
    ]


def all_jobs(profile: PeriodicBehaviorProfile) -> list[Job]:
    """Return each training of a run once, in the order in which they start."""
    return list(dict.fromkeys([*arm_jobs(profile), *rate_jobs(profile)]))
