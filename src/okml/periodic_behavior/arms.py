"""The compared arms, and their trainings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from okml.periodic_behavior.dynamics import Held
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
        sphere: Factor of the initial norm, with which the training begins.
        held: Whether each step leaves the norm of each weight tensor as it was, or that of all of
            them together. None: the norm is free.
    """

    label: str
    normalization: Normalization = "fixed"
    all_weights: bool = False
    decays: bool = True
    sphere: float = 1.0
    held: Held | None = None


ARMS = {
    "invariant": Arm("scale-invariant weights"),
    "all_weights": Arm("all weights", normalization="affine", all_weights=True),
    "no_decay": Arm("no weight decay", decays=False),
    "fixed_norm": Arm("norm of each layer held fixed", held="layers"),
    "plain": Arm("no batch normalization", normalization="none", all_weights=True),
    "all_no_decay": Arm(
        "all weights, no weight decay", normalization="affine", all_weights=True, decays=False
    ),
    "total_norm": Arm("norm of all layers together held fixed", held="total"),
    "smallest_sphere": Arm("norms held at 0.35 of the initial", sphere=0.35, held="layers"),
    "sphere_85": Arm("norms held at 0.85 of the initial", sphere=0.85, held="layers"),
    "sphere_70": Arm("norms held at 0.7 of the initial", sphere=0.7, held="layers"),
    "sphere_60": Arm("norms held at 0.6 of the initial", sphere=0.6, held="layers"),
    "sphere_50": Arm("norms held at 0.5 of the initial", sphere=0.5, held="layers"),
    "sphere_25": Arm("norms held at 0.25 of the initial", sphere=0.25, held="layers"),
}
CHOSEN = tuple(name for name in ARMS if name.startswith("sphere_"))  # where a profile lists them
DRAWN = ("invariant", "all_weights", "no_decay", "fixed_norm", "plain")  # arms with a course shown
OF_OTHERS = ("invariant", "all_weights")  # arms of the problems after the first


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


def arms_of(profile: PeriodicBehaviorProfile, problem: ProblemSettings) -> tuple[str, ...]:
    """Return the names of the arms of a problem.

    The first, on which claims are decided, has all but the spheres that the profile leaves out.
    """
    if problem != profile.main:
        return OF_OTHERS
    return tuple(name for name in ARMS if name not in CHOSEN or name in profile.spheres)


def all_jobs(profile: PeriodicBehaviorProfile) -> list[Job]:
    """Return each training of a run once: all arms, then scale-invariant weights at other rates."""
    arms = [
        Job(problem, arm, profile.rates, seed)
        for problem in profile.problems
        for arm in arms_of(profile, problem)
        for seed in profile.seeds
    ]
    others = [
        Job(profile.main, "invariant", rates, seed)
        for rates in profile.compared_rates
        for seed in profile.seeds
    ]
    return list(dict.fromkeys([*arms, *others]))
