"""The settings of the chapter."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from okml.periodic_behavior.arms import ARMS, NEEDED
from okml.profile import Profile
from okml.settings import (
    AtLeastOne,
    BelowOne,
    Count,
    LearningRate,
    Positive,
    Settings,
    Width,
    one_of,
    rule,
)

ArmName = Annotated[str, one_of("arm", lambda: ARMS)]
ImageSetName = Literal["fashion_mnist", "cifar10", "cifar100"]


class ProblemSettings(Settings):
    """Images, the network that learns them, and the length of its trainings."""

    images: ImageSetName
    examples: Count  # of the training set, its first ones
    side: Literal[8, 16, 32]  # pixels of an edge; larger images are averaged over squares
    network: Literal["convnet", "resnet18"] = "convnet"
    channels: Width  # of the first layer; later ones have 2, 4 and 8 times as many
    epochs: Count
    batch: Annotated[Count, Field(ge=2)] = 128  # examples of a step; 128 in the authors' code

    _whole = rule(
        lambda data: data.examples % data.batch != 1,
        "examples {examples}: the last batch of {batch} would hold one, without a variance",
    )


class RateSettings(Settings):
    """A constant learning rate and a weight decay."""

    learning_rate: LearningRate
    weight_decay: BelowOne


class PeriodicBehaviorProfile(Profile):
    """All settings of the chapter ``periodic_behavior``."""

    chapter: ClassVar[str] = "periodic_behavior"

    problems: AtLeastOne[ProblemSettings]  # claims are decided on the first
    rates: RateSettings  # of all arms
    # The first arm alone, on the first problem: what the frequency depends on.
    grid: AtLeastOne[RateSettings]
    # Two rates with the product of `rates`, for what depends on the product alone.
    same_product: AtLeastOne[RateSettings]
    arms: AtLeastOne[ArmName]  # on the first problem
    other_arms: AtLeastOne[ArmName]  # on the other problems
    last_norm: Positive = 10.0  # of the fixed last layer's weights, as in the authors' code
    jump: Annotated[Positive, Field(gt=1)] = 3.0  # factor of the loss that is a destabilization
    transient: BelowOne = 0.2  # share of the epochs before the first that counts

    _decided = rule(
        lambda data: set(NEEDED) <= {*data.arms}, f"arms {{arms}}: verdicts need {NEEDED}"
    )

    @property
    def main(self) -> ProblemSettings:
        """The first problem, on which claims are decided."""
        return self.problems[0]
