"""The arms of the ablation table: each changes one thing of the default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from okml.add.settings import AddSettings, OptimizerSettings

ArmName = Literal[
    "default",
    "image_kept_at_noise",
    "random_features",
    "no_condition",
    "text_only",
    "image_only",
    "random_student",
    "adversarial_only",
    "distillation_only",
    "distillation_faster",
    "sds",
    "nfsd",
    "weaker_teacher",
    "four_teacher_steps",
    "blind",
    "longer",
]


@dataclass(frozen=True)
class Arm:
    """One distillation.

    Attributes:
        name: In the profile.
        title: Shown.
        part: Of the paper's Table 1; empty for checks of ours.
        changes: Fields of ``AddSettings`` that differ from the default.
        random_features: The feature network keeps its random weights.
        weaker_teacher: The teacher is a narrower network.
        blind: Neither student, teacher nor heads are told the prompt.
        times: How many times as many steps it takes as the default.
    """

    name: ArmName
    title: str
    part: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    random_features: bool = False
    weaker_teacher: bool = False
    blind: bool = False
    times: int = 1

    def settings(self, default: AddSettings) -> AddSettings:
        """Return what this arm does."""
        return AddSettings.model_validate({**default.model_dump(), **self.changes})


# Without a critic a student can take the steps of the other distillations.
FASTER = OptimizerSettings(learning_rate=1e-3, warmup_steps=20)

ARMS: dict[ArmName, Arm] = {
    arm.name: arm
    for arm in (
        Arm("default", "default: both losses, text and image"),
        Arm(
            "image_kept_at_noise", "c_img kept at pure noise, as printed",
            changes={"image_condition_at_pure_noise": "keep"},
        ),
        Arm("random_features", "random feature network", "a", random_features=True),
        Arm(
            "no_condition", "discriminator without conditions", "b",
            {"condition_text": False, "condition_image": False},
        ),
        Arm("text_only", "discriminator told the text alone", "b", {"condition_image": False}),
        Arm("image_only", "discriminator told the image alone", "b", {"condition_text": False}),
        Arm("random_student", "student from random weights", "c", {"student_init": "random"}),
        Arm("adversarial_only", "adversarial loss alone", "d", {"distillation": "none"}),
        Arm("distillation_only", "distillation loss alone", "d", {"adversarial": False}),
        Arm(
            "distillation_faster", "distillation loss alone, learning faster", "d",
            {"adversarial": False, "student_optimizer": FASTER},
        ),
        Arm("sds", "weights of score distillation (SDS)", "d", {"distillation": "sds"}),
        Arm("nfsd", "noise-free score distillation (NFSD)", "d", {"distillation": "nfsd"}),
        Arm("weaker_teacher", "narrower teacher", "e", weaker_teacher=True),
        Arm("four_teacher_steps", "four teacher steps", "f", {"teacher_steps": 4}),
        Arm("blind", "prompt hidden from everyone", changes={"condition_text": False}, blind=True),
        Arm("longer", "three times as many steps", times=3),
    )
}  # fmt: skip
assert set(ARMS) == set(get_args(ArmName))
