"""The settings of the chapter."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from okml.profile import Profile
from okml.settings import (
    AtLeastOne,
    BelowOne,
    Count,
    Distinct,
    LearningRate,
    Positive,
    Settings,
    Width,
    rule,
)

Decay = Annotated[Positive, Field(lt=1)]
ImageSetName = Literal["fashion_mnist", "cifar10", "cifar100"]
SphereName = Literal["sphere_85", "sphere_70", "sphere_60", "sphere_50", "sphere_25"]


class ProblemSettings(Settings):
    """Images, the network that learns them, and the length of its trainings."""

    images: ImageSetName
    examples: Count  # the number of the training set's first examples that are used
    side: Literal[8, 16, 32]  # pixels of an edge; larger images are averaged over squares
    network: Literal["convnet", "resnet18"] = "convnet"
    channels: Width  # the first layer's; later ones have 2, 4 and 8 times as many
    epochs: Count
    batch: Annotated[Count, Field(ge=2)] = 128  # examples of a step; 128 in the authors' code

    _whole = rule(
        lambda data: data.examples % data.batch != 1,
        "examples {examples}: the last batch of {batch} would hold one, without a variance",
    )


class RateSettings(Settings):
    """A constant learning rate and a weight decay."""

    learning_rate: LearningRate
    weight_decay: Decay


class PeriodicBehaviorProfile(Profile):
    """All settings of the chapter ``periodic_behavior``."""

    chapter: ClassVar[str] = "periodic_behavior"

    problems: AtLeastOne[ProblemSettings]  # claims are decided on the first
    rates: RateSettings  # the learning rate and the weight decay of all arms
    # Scale-invariant weights are also trained with these, on the first problem, to see what the
    # frequency depends on.
    decays: AtLeastOne[Decay]  # other weight decays, at the same learning rate
    # Other learning rates, at the same product and at the same decay.
    learning_rates: AtLeastOne[LearningRate]
    crossed: bool = False  # whether each of the decays is taken with each of the learning rates
    # Arms whose layers are held on spheres between and below those that every profile has.
    spheres: Distinct[SphereName] = ()
    last_norm: Positive = 10.0  # norm of the fixed last layer's weights, as in the authors' code
    jump: Annotated[Positive, Field(gt=1)] = 5.0  # factor of the loss that is a destabilization
    transient: BelowOne = 0.2  # share of the epochs before the first that counts

    _others = rule(
        lambda profile: (
            profile.rates.weight_decay not in profile.decays
            and profile.rates.learning_rate not in profile.learning_rates
        ),
        "decays {decays} or learning_rates {learning_rates} repeat what all arms have",
    )

    @property
    def main(self) -> ProblemSettings:
        """The first problem, on which claims are decided."""
        return self.problems[0]

    @property
    def other_decays(self) -> list[RateSettings]:
        """The rates of all arms with the other weight decays."""
        return [self.rates.model_copy(update={"weight_decay": decay}) for decay in self.decays]

    @property
    def other_rates(self) -> list[RateSettings]:
        """The other learning rates, each with the weight decay of the same product."""
        product = self.rates.learning_rate * self.rates.weight_decay
        return [
            RateSettings(learning_rate=rate, weight_decay=float(f"{product / rate:.6g}"))
            for rate in self.learning_rates
        ]

    @property
    def rates_at_decay(self) -> list[RateSettings]:
        """The other learning rates, each with the weight decay of all arms."""
        return [
            self.rates.model_copy(update={"learning_rate": rate}) for rate in self.learning_rates
        ]

    @property
    def compared_rates(self) -> list[RateSettings]:
        """Every pair of rates at which a frequency is measured, once; that of all arms is first."""
        grid = [
            RateSettings(learning_rate=rate, weight_decay=decay)
            for rate in self.learning_rates
            for decay in self.decays
            if self.crossed
        ]
        found = [self.rates, *self.other_decays, *self.other_rates, *self.rates_at_decay, *grid]
        return list(dict.fromkeys(found))
