"""Full-scale distillations: sizes, precision, data; and the rows of the paper's Table 1."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from okml.add.full_scale.architectures import (
    NATIVE_SIDES,
    STUDENT_SIDE,
    Backbone,
    FeatureName,
)
from okml.add.settings import AddSettings, SamplerSteps
from okml.paths import data_roots
from okml.settings import AtLeastOne, Count, Distinct, Positive, Settings, rule
from okml.training import TrainingSettings

GuidanceScale = Annotated[Positive, Field(gt=1, le=100)]
EXAMPLES = 600_000  # captioned images to train on, a little more than 4000 steps of 128


class FullScaleSettings(Settings):
    """One distillation of a published model at 512 by 512.

    The default is the starred row of Table 1 (SD 2.1 from SD 2.1, 4000 steps of 128 images);
    learning rates, averaging, clipping and precision are ours.
    """

    student: Backbone = "sd21"
    teacher: Backbone = "sd21"  # Table 1e
    features: FeatureName = "dinov2_vits14"  # Table 1a
    add: AddSettings = AddSettings()
    training: TrainingSettings = TrainingSettings(
        batch_size=128,
        max_steps=4000,
        gradient_accumulation=16,  # micro-batches of 8, one group of the heads' normalization
        gradient_clip=1.0,
        ema_decay=0.999,
        mixed_precision="bf16",
        shuffle="epoch",
        checkpoint_every=250,
        workers=8,
    )
    frozen_dtype: Literal["bfloat16", "float32"] = "bfloat16"  # teacher, autoencoder, features
    gradient_checkpointing: bool = True  # student and decoder
    shard_student: bool = False  # FSDP over all processes
    # Pixels of an image's side, a multiple of 8.
    side: Annotated[Count, Field(ge=8)] = STUDENT_SIDE
    # Prepared examples, see okml.add.full_scale.shards; a relative path lies in the data folder.
    shards: Path = Path("shards")
    evaluation_steps: AtLeastOne[SamplerSteps] = (1, 2, 4)
    evaluation_batch: Count = 16  # images of `side`; of larger ones fewer, with as many pixels

    _side = rule(lambda settings: settings.side % 8 == 0, "side {side} is not a multiple of 8")

    @property
    def shard_folder(self) -> Path:
        """Folder of the shards for this student: each family has latents of its own."""
        return data_roots()[0] / "add" / self.shards / self.student

    def teacher_side(self, name: Backbone) -> int:
        """Return the side of the images that a teacher draws on its own.

        It is the side that the teacher was trained for; where ``side`` is not the published one,
        it is in proportion.
        """
        return self.side * NATIVE_SIDES[name] // STUDENT_SIDE

    def drawn_at_once(self, side: int) -> int:
        """Return the number of images of ``side`` with the pixels of an evaluation batch."""
        return max(1, self.evaluation_batch * self.side**2 // side**2)

    def changed(self, changes: dict[str, Any]) -> FullScaleSettings:
        """Return these settings with others for some fields, those of ``add`` by a dot."""
        values = self.model_dump()
        for name, value in changes.items():
            owner, _, field = name.rpartition(".")
            (values[owner] if owner else values)[field] = value
        return FullScaleSettings.model_validate(values)


class ReleasedSettings(Settings):
    """Models that are scored and timed as they were released, and as people sample them.

    Released students draw without guidance, teachers with it by DPM-Solver++, as in Table 2. Each
    draws at the side that it was trained for, see :meth:`FullScaleSettings.teacher_side`.
    """

    students: Distinct[Backbone] = ()  # sd21 (SD-Turbo) and sdxl (SDXL-Turbo) were released
    student_steps: Distinct[SamplerSteps] = (1, 2, 4)
    timed_steps: Distinct[SamplerSteps] = (1, 2, 3, 4)
    teachers: Distinct[Backbone] = ()
    teacher_steps: Distinct[SamplerSteps] = (8, 25)
    guidance: Distinct[GuidanceScale] = (3.0, 5.0, 7.5)  # the paper does not print its own
    repeats: Annotated[Count, Field(ge=8)] = 20  # rounds of each timing

    @property
    def teacher_draws(self) -> list[tuple[int, float]]:
        """Steps and guidance of each set of a teacher's images.

        The first is one step without guidance, which is what a student begins as.
        """
        return [(1, 1.0), *((n, scale) for n in self.teacher_steps for scale in self.guidance)]

    _released = rule(
        lambda settings: "sd15" not in settings.students, "SD 1.5 has no released student"
    )
    _the_digests = rule(
        lambda settings: {1, 4} <= set(settings.timed_steps),
        "timed_steps needs 1 and 4, of which the digest speaks",
    )


# Table 1, by row; the starred row is the default of all. In this order an interrupted budget still
# gives the rows that say most.
TABLE_1: dict[str, dict[str, Any]] = {
    "default": {},
    "d.adversarial_only": {"add.distillation": "none"},
    "d.distillation_only": {"add.adversarial": False},
    "d.sds": {"add.distillation": "sds"},
    "d.nfsd": {"add.distillation": "nfsd"},
    "b.unconditional": {"add.condition_text": False, "add.condition_image": False},
    "b.text_only": {"add.condition_image": False},
    "b.image_only": {"add.condition_text": False},
    "c.random_student": {"add.student_init": "random"},
    "a.dino_v1": {"features": "dino_vits16"},
    "a.dino_v2_large": {"features": "dinov2_vitl14"},
    "a.clip_large": {"features": "clip_vitl14"},
    "f.two_teacher_steps": {"add.teacher_steps": 2},
    "f.four_teacher_steps": {"add.teacher_steps": 4},
    "e.teacher_sdxl": {"teacher": "sdxl"},
    "e.student_sdxl": {"student": "sdxl"},
    "e.both_sdxl": {"student": "sdxl", "teacher": "sdxl"},
}


def table_1(base: FullScaleSettings | None = None) -> dict[str, FullScaleSettings]:
    """Return the settings of each row of Table 1, by name."""
    base = base or FullScaleSettings()
    return {name: base.changed(changes) for name, changes in TABLE_1.items()}
