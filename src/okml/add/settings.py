"""The settings of one distillation, with every switch of the paper's Table 1.

Two of those switches are objects and not numbers: the feature network of the discriminator
(Table 1a) and the pair of student and teacher (Table 1e) are handed to
:class:`okml.add.task.AdversarialDistillation`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from okml.settings import (
    Ascending,
    BelowOne,
    Count,
    Fraction,
    LearningRate,
    NonNegative,
    Probability,
    Settings,
    Whole,
    Width,
    rule,
)

TerminalSnr = Literal["noise_only", "rescale", "native"]
Reduction = Literal["mean", "sum"]
Weighting = Literal["none", "exponential", "sds", "nfsd", "uniform"]
StudentInit = Literal["pretrained", "random"]
PredictionType = Literal["epsilon", "v_prediction", "sample"]

TIMESTEPS = 1000  # every schedule has as many
Timestep = Annotated[Whole, Field(lt=TIMESTEPS)]
SamplerSteps = Annotated[Count, Field(le=TIMESTEPS)]

# Teacher timesteps and guidance where the settings leave them open. The paper prints neither. The
# score-based weights divide by alpha or sigma, so they stay away from both ends, and they assume
# classifier-free guidance. A weighting that TEACHER_TIMESTEPS does not list gets SCORE_TIMESTEPS.
TEACHER_TIMESTEPS = {"exponential": (0, 999), "uniform": (0, 999)}
SCORE_TIMESTEPS = (20, 980)
SCORE_GUIDANCE = 7.5


class AdamSettings(Settings):
    """Adam for one of the two networks. The paper publishes none of these numbers."""

    learning_rate: LearningRate
    betas: tuple[BelowOne, BelowOne] = (0.0, 0.99)  # no momentum: usual for adversarial training
    epsilon: Fraction = 1e-8
    weight_decay: NonNegative = 0.0
    warmup_steps: Whole = 0  # linear, then constant
    decay_steps: Count | None = None  # updates over which the rate falls linearly to zero, if any


class AugmentSettings(Settings):
    """Differentiable augmentation before the feature network; zero switches a part off.

    Defaults are StyleGAN-T's, whose procedure the paper follows.
    """

    brightness: NonNegative = 0.5  # added, uniform in +-, to images in [-1, 1]
    saturation: Probability = 1.0  # factor, uniform in 1 +-
    contrast: Probability = 0.5  # factor, uniform in 1 +-
    translation: BelowOne = 0.125  # share of the side, zero padding
    cutout: BelowOne = 0.2  # side of the blanked square, share of the side


class DiscriminatorSettings(Settings):
    """The trainable heads on the frozen features; sizes are StyleGAN-T's."""

    kernel: Count = 9  # odd kernel size of the residual convolution over tokens
    embedding: Width = 64  # width of a token, which is projected on the condition
    virtual_batch: Count = 8  # examples that share batch statistics
    # Length of a condition vector: 1, or the square root of its width. The first leaves the
    # projection of narrow conditions near zero for hundreds of steps.
    condition_scale: Literal["unit", "root_width"] = "unit"

    _odd = rule(lambda heads: heads.kernel % 2 == 1, "kernel must be odd, not {kernel}")


class HealthSettings(Settings):
    """When a distillation counts as collapsed; see :mod:`okml.add.health`."""

    gradient_ratio_every: Count = 50  # steps between measurements
    every: Count = 10  # steps between checks
    # How differently the student draws two noises under one condition: the distance of its
    # samples over that of two independent values with the variance of real entries.
    least_spread: NonNegative = 0.1
    patience: Count = 20  # bad checks in a row
    on_collapse: Literal["report", "stop"] = "report"


class AddSettings(Settings):
    """One distillation. Defaults are the paper's, or ours where it says nothing (marked "ours").

    Sections and equations are those of arXiv 2311.17042.
    """

    # The student's input (section 3.1)
    # N = 4; all but the last: ours
    student_timesteps: Ascending[Timestep] = Field(default=(249, 499, 749, 999), min_length=1)
    # How the last timestep carries no signal. noise_only keeps the weights of an epsilon network
    # valid; rescale is the exact schedule and needs v or sample prediction; native leaks (ours).
    terminal_snr: TerminalSnr = "noise_only"
    student_init: StudentInit = "pretrained"  # Table 1c

    # The loss (Eq. 1 to 4)
    adversarial: bool = True  # Table 1d
    distillation: Weighting = "exponential"  # c(t) of Eq. 4, Table 1d; none: no teacher
    distillation_weight: NonNegative = 2.5  # lambda
    # What is taken over the entries of an image; the norm of Eq. 4 is a sum, to the letter (ours).
    distillation_reduction: Reduction = "mean"
    distillation_space: Literal["pixel", "latent"] = "pixel"
    teacher_steps: SamplerSteps = 1  # Table 1f
    # First and last; None: by weighting (ours).
    teacher_timesteps: tuple[Timestep, Timestep] | None = None
    teacher_guidance: NonNegative | None = None  # None: by weighting (ours)
    nfsd_guidance: NonNegative = 7.5  # s of noise-free score distillation
    r1_weight: NonNegative = 1e-5  # gamma
    r1_every: Count = 1  # steps; the weight grows by as much (ours)

    # The discriminator (section 3.2, Table 1b)
    condition_text: bool = True
    condition_image: bool = True
    # Pure noise tells the student nothing of the real image, and the heads are told its embedding
    # all the same (keep, literal) or get zeros for real and fake alike (null, ours).
    image_condition_at_pure_noise: Literal["keep", "null"] = "keep"
    heads: DiscriminatorSettings = DiscriminatorSettings()
    augment: AugmentSettings = AugmentSettings()
    # Update the student first and let the heads learn from the images it just made: saves one pass
    # of student, decoder and feature network (ours).
    shared_fakes: bool = False

    student_optimizer: AdamSettings = AdamSettings(learning_rate=1e-5, warmup_steps=500)
    head_optimizer: AdamSettings = AdamSettings(learning_rate=2e-3)
    health: HealthSettings = HealthSettings()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.teacher_timesteps and self.teacher_timesteps[0] > self.teacher_timesteps[1]:
            raise ValueError("teacher_timesteps must ascend")
        if not self.adversarial and self.distillation == "none":
            raise ValueError("nothing is left to learn: adversarial is off, distillation is none")
        if self.distillation == "nfsd" and self.teacher_steps > 1:
            raise ValueError("nfsd defines its target from one teacher step")
        return self

    @property
    def guidance(self) -> float:
        """Classifier-free guidance of the teacher; 1 is none."""
        if self.teacher_guidance is not None:
            return self.teacher_guidance
        return SCORE_GUIDANCE if self.distillation == "sds" else 1.0

    @property
    def teacher_range(self) -> tuple[int, int]:
        """First and last timestep that the teacher may be asked at."""
        if self.teacher_timesteps is not None:
            return self.teacher_timesteps
        return TEACHER_TIMESTEPS.get(self.distillation, SCORE_TIMESTEPS)
