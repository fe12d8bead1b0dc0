"""What one Adversarial Diffusion Distillation does; every switch of the paper's Table 1 is here.

Two of those switches are objects and not numbers: the feature network of the discriminator
(Table 1a) and the pair of student and teacher (Table 1e) are handed to
:class:`okml.add.task.Distillation`.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

TerminalSnr = Literal["noise_only", "rescale", "native"]
Weighting = Literal["none", "exponential", "sds", "nfsd", "uniform"]
StudentInit = Literal["pretrained", "random"]
PredictionType = Literal["epsilon", "v_prediction", "sample"]

# Teacher timesteps and guidance where the settings leave them open. The paper prints neither. The
# score-based weights divide by alpha or sigma, so they stay away from both ends, and they assume
# classifier-free guidance.
TEACHER_TIMESTEPS = {"exponential": (0, 999), "uniform": (0, 999)}
SCORE_TIMESTEPS = (20, 980)
SCORE_GUIDANCE = 7.5


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OptimizerSettings(_Settings):
    """Adam for one of the two networks. The paper publishes none of these numbers."""

    learning_rate: float = Field(gt=0)
    betas: tuple[float, float] = (0.0, 0.99)  # no momentum: usual for adversarial training
    epsilon: float = 1e-8
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=0, ge=0)  # linear, then constant


class AugmentSettings(_Settings):
    """Differentiable augmentation of what the feature network sees; zero switches a part off.

    Defaults are StyleGAN-T's, whose procedure the paper follows.
    """

    brightness: float = Field(default=0.5, ge=0)  # added, uniform in +-, to images in [-1, 1]
    saturation: float = Field(default=1.0, ge=0, le=1)  # factor, uniform in 1 +-
    contrast: float = Field(default=0.5, ge=0, le=1)  # factor, uniform in 1 +-
    translation: float = Field(default=0.125, ge=0, lt=1)  # share of the side, zero padding
    cutout: float = Field(default=0.2, ge=0, lt=1)  # side of the blanked square, share of the side


class HeadSettings(_Settings):
    """The trainable heads on the frozen features; sizes are StyleGAN-T's."""

    kernel: int = Field(default=9, ge=1)  # of the residual convolution over tokens, odd
    embedding: int = Field(default=64, ge=1)  # per token, projected on the condition
    virtual_batch: int = Field(default=8, ge=1)  # examples that share batch statistics
    # Length of a condition vector: 1, or the square root of its width. The first leaves the
    # projection of narrow conditions near zero for hundreds of steps.
    condition_scale: Literal["unit", "root_width"] = "unit"


class HealthSettings(_Settings):
    """When a distillation counts as collapsed; see :mod:`okml.add.health`."""

    gradient_ratio_every: int = Field(default=50, ge=1)  # steps between measurements
    every: int = Field(default=10, ge=1)  # steps between checks
    # How differently the student draws two noises under one condition: the distance of its
    # samples over that of two independent values with the variance of real entries.
    least_spread: float = Field(default=0.1, ge=0)
    patience: int = Field(default=20, ge=1)  # bad checks in a row
    on_collapse: Literal["report", "stop"] = "report"


class AddSettings(_Settings):
    """One distillation. Defaults are the paper's, or ours where it says nothing (marked "ours").

    Sections and equations are those of arXiv 2311.17042.
    """

    # The student's input (section 3.1)
    student_timesteps: tuple[int, ...] = (249, 499, 749, 999)  # N = 4; all but the last: ours
    student_timestep_weights: tuple[float, ...] | None = None  # None: uniform
    # How the last timestep carries no signal. noise_only keeps the weights of an epsilon network
    # valid; rescale is the exact schedule and needs v or sample prediction; native leaks (ours).
    terminal_snr: TerminalSnr = "noise_only"
    student_init: StudentInit = "pretrained"  # Table 1c

    # The loss (Eq. 1 to 4)
    adversarial: bool = True  # Table 1d
    distillation: Weighting = "exponential"  # c(t) of Eq. 4, Table 1d; none: no teacher
    distillation_weight: float = Field(default=2.5, ge=0)  # lambda
    distillation_space: Literal["pixel", "latent"] = "pixel"
    teacher_steps: int = Field(default=1, ge=1)  # Table 1f
    teacher_timesteps: tuple[int, int] | None = None  # first and last; None: by weighting (ours)
    teacher_guidance: float | None = Field(default=None, ge=0)  # None: by weighting (ours)
    nfsd_guidance: float = 7.5  # s of noise-free score distillation
    r1_weight: float = Field(default=1e-5, ge=0)  # gamma
    r1_every: int = Field(default=1, ge=1)  # steps; the weight grows by as much (ours)

    # The discriminator (section 3.2, Table 1b)
    condition_text: bool = True
    condition_image: bool = True
    # Pure noise tells the student nothing of the real image, and the heads are told its embedding
    # all the same (keep, literal) or get zeros for real and fake alike (null, ours).
    image_condition_at_pure_noise: Literal["keep", "null"] = "keep"
    heads: HeadSettings = HeadSettings()
    augment: AugmentSettings = AugmentSettings()
    critic_steps: int = Field(default=1, ge=1)  # updates of the heads per update of the student
    # Update the student first and let the heads learn from the images it just made: saves one pass
    # of student, decoder and feature network (ours).
    shared_fakes: bool = False
    reconstructed_reals: bool = False  # show the heads decoded latents of real images (ours)

    student_optimizer: OptimizerSettings = OptimizerSettings(learning_rate=1e-5, warmup_steps=500)
    head_optimizer: OptimizerSettings = OptimizerSettings(learning_rate=2e-3)
    health: HealthSettings = HealthSettings()

    @model_validator(mode="after")
    def _check(self) -> Self:
        steps, weights = self.student_timesteps, self.student_timestep_weights
        if not steps or list(steps) != sorted(set(steps)):
            raise ValueError("student_timesteps must ascend")
        if weights is not None and len(weights) != len(steps):
            raise ValueError("student_timestep_weights needs one number for each timestep")
        if not self.adversarial and self.distillation == "none":
            raise ValueError("nothing is left to learn: adversarial is off, distillation is none")
        if self.shared_fakes and self.critic_steps > 1:
            raise ValueError("shared_fakes has one set of images a step: critic_steps must be 1")
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
