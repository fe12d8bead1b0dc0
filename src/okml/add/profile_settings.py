"""The settings of the chapter at one scale."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, ValidationError, model_validator

from okml.add.arms import ALTERNATIVES, ARMS
from okml.add.full_scale.settings import (
    TABLE_1,
    FullScaleSettings,
    ReleasedSettings,
    table_1,
)
from okml.add.images import LARGEST_SIZES, ImageSetName
from okml.add.images.prompts import SENTENCE_WIDTH, TextEncoder
from okml.add.settings import AddSettings, SamplerSteps
from okml.add.small.pretraining import SupervisedSettings, TeacherSettings
from okml.add.small.vit import VitSettings
from okml.profile import Profile
from okml.settings import (
    Ascending,
    BelowOne,
    Count,
    Distinct,
    Fraction,
    LearningRate,
    Positive,
    Settings,
    Whole,
    Width,
    one_of,
    rule,
)

Eye = Literal["vit", "efficientnet"]
EFFICIENTNET_STRIDE = 16  # stride of the last features that are read
RowName = Annotated[str, one_of("row of Table 1", lambda: TABLE_1)]
ArmName = Annotated[str, one_of("arm", lambda: ARMS)]  # an arm of the ablation
Alternative = Annotated[str, one_of("alternative", lambda: ALTERNATIVES)]


class DistillationRun(Settings):
    """The length and batch size of a distillation; its method is in ``AddSettings``."""

    steps: Count
    batch: Count  # images
    ema_decay: Fraction = 0.99  # decay of the average that is evaluated


class ConsistencySettings(Settings):
    """Latent consistency distillation (Luo et al., 2023), here in pixel space."""

    grid: Annotated[SamplerSteps, Field(ge=2)] = 20  # timesteps of the teacher's DDIM
    learning_rate: LearningRate = 1e-3
    target_decay: BelowOne = 0.95  # decay of the network that gives targets


class ProgressiveSettings(Settings):
    """Progressive distillation (Salimans & Ho, 2022): the number of steps is halved in rounds."""

    from_steps: Annotated[SamplerSteps, Field(ge=2)] = 8  # the first teacher's; a power of two
    learning_rate: LearningRate = 1e-3  # falls linearly to zero in each round

    _halves = rule(
        lambda settings: settings.from_steps.bit_count() == 1,
        "from_steps must be a power of two, not {from_steps}",
    )

    @property
    def students(self) -> tuple[int, ...]:
        """The numbers of steps to which rounds can halve those of the first teacher."""
        return tuple(2**power for power in range(self.from_steps.bit_length() - 1))


class SetSettings(Settings):
    """Everything that happens on one image set."""

    images: ImageSetName
    size: Annotated[Count, Field(ge=4)]  # pixels a side
    # What the default arm does; every other arm changes one thing.
    add: AddSettings
    seeds: Count | None = None  # number of the profile's seeds to use; None: all
    most_images: Count | None = Field(default=None, ge=100)  # kept of train and of test; None: all
    text: TextEncoder = "words"
    patch: Count = 1  # side in pixels of the squares that the diffusion network sees as one place
    # Channels of teacher and student at each resolution, multiples of 8.
    channels: tuple[Width, ...] = Field(min_length=1)
    teacher: TeacherSettings
    metric: SupervisedSettings
    # F of the discriminator and the network of c_img: two small transformers trained by the
    # chapter, or EfficientNet-Lite0 as published.
    eye: Eye = "vit"
    vit: VitSettings = VitSettings()
    vit_training: SupervisedSettings | None = None
    efficientnet_side: Annotated[Count, Field(ge=16)] = 32  # pixels that images are resized to
    distillation: DistillationRun
    # Arms of the ablation table beside the default; those in the first tuple run with every seed
    # of the image set, those in the second with the first seed alone.
    arms: Distinct[ArmName] = ()
    arms_once: Distinct[ArmName] = ()
    alternatives: Distinct[Alternative] = ()
    # Factors on the learning rate of students, ascending. Each way of distilling takes the one with
    # the lowest distance at one step, on a seed that counts nowhere else; where that is at an end,
    # it tries further ones beyond, at most so many.
    rates: Ascending[Positive] = Field(default=(1.0,), min_length=1)
    more_rates: Whole = 0
    consistency: ConsistencySettings = ConsistencySettings()
    progressive: ProgressiveSettings = ProgressiveSettings()
    teacher_steps: Distinct[SamplerSteps] = (1, 2, 4, 25, 50)  # steps of DDIM
    solver_steps: Distinct[SamplerSteps] = (4, 8, 25)  # steps of DPM-Solver++
    samples: Annotated[Count, Field(ge=20)] = 1000  # behind every distance
    watch: Count = 8  # evaluations of each student while it trains

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.eye == "vit" and self.vit_training is None:
            raise ValueError("the transformers need vit_training")
        if set(self.arms) & set(self.arms_once) or "default" in {*self.arms, *self.arms_once}:
            raise ValueError("an arm is listed twice; the default one always runs")
        if not {1, 25} <= set(self.teacher_steps):
            raise ValueError("teacher_steps needs 1 and 25, which the claims compare with")
        return self

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.size > LARGEST_SIZES[self.images]:
            raise ValueError(f"{self.images} have {LARGEST_SIZES[self.images]} pixels a side")
        if self.size % (self.patch * 2 ** (len(self.channels) - 1)):
            raise ValueError(
                f"size {self.size} cannot be halved {len(self.channels) - 1} times in patches of "
                f"{self.patch}"
            )
        if self.text == "sentences" and 4 * self.channels[0] > SENTENCE_WIDTH:
            raise ValueError(f"sentences need channels of at most {SENTENCE_WIDTH // 4} first")
        if any(width % 8 for width in self.channels) or self.channels[-1] < 16:
            raise ValueError("channels need multiples of 8, the last at least 16")
        if self.eye == "vit" and self.vit.patch > self.size:
            raise ValueError(f"a patch of {self.vit.patch} exceeds the size {self.size}")
        if self.add.heads.kernel // 2 > self.positions:
            raise ValueError(
                f"heads.kernel {self.add.heads.kernel} does not fit into the features of "
                f"{self.images}, which have {self.positions} positions"
            )
        return self

    @property
    def positions(self) -> int:
        """Places in the smallest features that the heads read."""
        if self.eye == "vit":
            return (self.size // self.vit.patch) ** 2
        return math.ceil(self.efficientnet_side / EFFICIENTNET_STRIDE) ** 2


class SpeedSettings(Settings):
    """How the time of an image is measured."""

    batch: Count = 64  # images drawn at a time, beside one at a time
    repeats: Annotated[Count, Field(ge=3)] = 5  # timed rounds, after one warm-up round
    teacher_steps: Distinct[SamplerSteps] = (1, 4, 25, 50)

    _fifty = rule(
        lambda speed: 50 in speed.teacher_steps,
        "teacher_steps needs 50, which the claim compares with",
    )


class PublishedSettings(Settings):
    """The distillation of published models, which needs their weights, data and a GPU.

    With at least one row, the claims are decided here and not on the small sets.
    """

    base: FullScaleSettings = FullScaleSettings()
    rows: Distinct[RowName] = ()  # rows of Table 1 to run
    released: ReleasedSettings = ReleasedSettings()

    @model_validator(mode="after")
    def _rows_fit_the_base(self) -> Self:
        try:
            table_1(self.base)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValueError(f"a row of Table 1 does not fit the base: {reason}") from None
        return self

    def settings(self) -> dict[str, FullScaleSettings]:
        """Return the settings of each row that is run, by name."""
        known = table_1(self.base)
        return {name: known[name] for name in self.rows}


class AddProfile(Profile):
    """All settings of the chapter ``add``."""

    chapter: ClassVar[str] = "add"

    sets: tuple[SetSettings, ...] = Field(min_length=1)  # figures and most claims are of the first
    student_steps: Distinct[SamplerSteps] = (1, 2, 4)
    speed: SpeedSettings = SpeedSettings()
    published: PublishedSettings = PublishedSettings()

    @model_validator(mode="after")
    def _steps_that_claims_compare(self) -> Self:
        if not {1, 2, 4} <= set(self.student_steps):
            raise ValueError("student_steps needs 1, 2 and 4, which the claims compare")
        return self

    @model_validator(mode="after")
    def _sets_fit(self) -> Self:
        names = [settings.images for settings in self.sets]
        if len(set(names)) < len(names):
            raise ValueError("two sets have the same images, by which metrics are named")
        return self

    @property
    def main(self) -> SetSettings:
        """The image set that all claims but those on captions and published features are about."""
        return self.sets[0]

    def seeds_of(self, settings: SetSettings) -> tuple[int, ...]:
        """Return the seeds of an image set."""
        return self.seeds[: settings.seeds]
