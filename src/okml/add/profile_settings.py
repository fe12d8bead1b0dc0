"""The settings of the chapter at one scale."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from okml.add.arms import ArmName
from okml.add.full_scale.architectures import Backbone
from okml.add.full_scale.settings import TABLE_1, FullScaleSettings, table_1
from okml.add.images import ImageSetName
from okml.add.settings import AddSettings
from okml.add.small.pretraining import PretrainingSettings
from okml.add.small.vit import VitSettings
from okml.profile import Profile

Eye = Literal["vit", "efficientnet"]
Alternative = Literal["consistency", "progressive"]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DistillationRun(_Settings):
    """How long and how wide a distillation is; what it does is in ``AddSettings``."""

    steps: int = Field(ge=1)
    batch: int = Field(ge=1)  # images
    ema_decay: float = Field(default=0.99, gt=0, lt=1)  # of the student that is evaluated


class ConsistencySettings(_Settings):
    """Latent consistency distillation (Luo et al., 2023), here in pixel space."""

    grid: int = Field(default=20, ge=2)  # timesteps of the teacher's DDIM that are compared
    learning_rate: float = Field(default=1e-3, gt=0)
    target_decay: float = Field(default=0.95, ge=0, lt=1)  # of the network that gives targets


class ProgressiveSettings(_Settings):
    """Progressive distillation (Salimans & Ho, 2022): the number of steps is halved in rounds."""

    from_steps: int = Field(default=8, ge=2)  # of the first teacher; a power of two
    learning_rate: float = Field(default=1e-3, gt=0)  # falls linearly to zero in each round

    @model_validator(mode="after")
    def _halves(self) -> Self:
        if self.from_steps & (self.from_steps - 1):
            raise ValueError("from_steps must be a power of two")
        return self


class SetSettings(_Settings):
    """Everything that happens on one image set."""

    images: ImageSetName
    size: int = Field(ge=4)  # pixels a side
    seeds: int | None = Field(default=None, ge=1)  # of the profile's; None: all
    most_images: int | None = Field(default=None, ge=100)  # kept of train and of test; None: all
    channels: tuple[int, ...]  # of teacher and student at each resolution, multiples of 8
    teacher: PretrainingSettings
    metric: PretrainingSettings
    # F of the discriminator and the network of c_img: two small transformers trained by the
    # chapter, or EfficientNet-Lite0 as published.
    eye: Eye = "vit"
    vit: VitSettings = VitSettings()
    vit_training: PretrainingSettings | None = None
    efficientnet_side: int = Field(default=32, ge=16)  # pixels that images are resized to
    distillation: DistillationRun
    # Arms of the ablation table beside the default; those in the first tuple run with every seed
    # of the profile, those in the second with the first seed alone.
    arms: tuple[ArmName, ...] = ()
    arms_once: tuple[ArmName, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    alternative_seeds: int = Field(default=1, ge=1)
    consistency: ConsistencySettings = ConsistencySettings()
    progressive: ProgressiveSettings = ProgressiveSettings()
    teacher_steps: tuple[int, ...] = (1, 2, 4, 25, 50)  # of DDIM
    solver_steps: tuple[int, ...] = (4, 8, 25)  # of DPM-Solver++
    samples: int = Field(default=1000, ge=20)  # behind every distance
    watch: int = Field(default=8, ge=1)  # evaluations while the default student trains

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.eye == "vit" and self.vit_training is None:
            raise ValueError("the transformers need vit_training")
        if set(self.arms) & set(self.arms_once) or "default" in {*self.arms, *self.arms_once}:
            raise ValueError("an arm is listed twice; the default one always runs")
        if not {1, 25} <= set(self.teacher_steps):
            raise ValueError("teacher_steps needs 1 and 25, which the claims compare with")
        return self


class SpeedSettings(_Settings):
    """How the time of an image is measured."""

    batch: int = Field(default=64, ge=1)  # images drawn at a time, beside one at a time
    repeats: int = Field(default=5, ge=3)  # after one that is not counted
    teacher_steps: tuple[int, ...] = (1, 4, 25, 50)

    @model_validator(mode="after")
    def _compares_with_fifty(self) -> Self:
        if 50 not in self.teacher_steps:
            raise ValueError("teacher_steps needs 50, which the claim compares with")
        return self


class PublishedSettings(_Settings):
    """The distillation of published models, which needs their weights, data and a GPU.

    With at least one row, the claims are decided here and not on the small sets.
    """

    base: FullScaleSettings = FullScaleSettings()
    rows: tuple[str, ...] = ()  # of Table 1; empty: none is run
    teacher_steps: tuple[int, ...] = (1, 25)  # the teacher's own FID
    released: Backbone | None = None  # whose released student is timed

    def settings(self) -> dict[str, FullScaleSettings]:
        """Return the settings of each row that is run, by name."""
        known = table_1(self.base)
        return {name: known[name] for name in self.rows}

    @model_validator(mode="after")
    def _rows_are_known(self) -> Self:
        if unknown := set(self.rows) - set(TABLE_1):
            raise ValueError(f"Table 1 has no rows {sorted(unknown)}")
        return self


class AddProfile(Profile):
    """All settings of the chapter ``add``."""

    chapter: ClassVar[str] = "add"

    sets: tuple[SetSettings, ...] = Field(min_length=1)  # claims and figures are of the first
    # What the default arm does; every other arm changes one thing.
    add: AddSettings
    student_steps: tuple[int, ...] = (1, 2, 4)
    speed: SpeedSettings = SpeedSettings()
    published: PublishedSettings = PublishedSettings()

    @model_validator(mode="after")
    def _steps_that_claims_compare(self) -> Self:
        if not {1, 2, 4} <= set(self.student_steps):
            raise ValueError("student_steps needs 1, 2 and 4, which the claims compare")
        return self

    @property
    def main(self) -> SetSettings:
        """The image set that the claims are about."""
        return self.sets[0]

    def seeds_of(self, settings: SetSettings) -> tuple[int, ...]:
        """Return the seeds of an image set."""
        return self.seeds[: settings.seeds]
