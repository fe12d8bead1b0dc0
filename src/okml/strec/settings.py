"""The settings of the chapter."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from okml.profile import Profile
from okml.seqrec.losses import AnyLoss, ChunkedSoftmaxSettings
from okml.seqrec.mixers import (
    AnyMixer,
)
from okml.seqrec.settings import BackboneSettings
from okml.strec.references import ReferenceName
from okml.strec.relaxation import RelaxationSettings
from okml.strec.sampler import SamplerSettings
from okml.strec.schedule import Schedule, check_schedule

SplitName = Literal["per_user_ratio", "last_events", "leave_one_out", "global_time"]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSettings(_Settings):
    """One log, and the protocol it is used under. Candidates are always all items."""

    log: str  # in okml.data.logs
    length: int = Field(ge=2)  # N, items of a window
    schedule: Schedule  # STRec's k_1 to k_L
    activation: Literal["tanh", "relu"] = "tanh"  # of the sampler; relu in the code for 8 items
    short_lengths: tuple[int, ...]  # of the backbone that reads the newest items only
    least_user_events: int | None = None  # k-core filter of the paper; None: none
    least_item_events: int | None = None
    # per_user_ratio: the authors' 8/11, 2/11, 1/11 of each user's rows. last_events: the newest
    # `held_out` rows test and the `held_out` before them choose. global_time: the last days.
    split: SplitName = "per_user_ratio"
    held_out: int = Field(default=5, ge=1)
    test_days: float = Field(default=60, gt=0)
    # Newest training rows of a user; None: all. Rows are one target each.
    rows_per_user: int | None = Field(default=None, ge=1)
    # Validation rows that early stopping looks at, drawn once; None: all.
    validation_rows: int | None = Field(default=None, ge=1)


class NetworkSettings(_Settings):
    """The sizes of every encoder of the chapter; the authors' code."""

    width: int = 128
    heads: int = 4
    hidden: int = 512
    layers: int = 8


class Recipe(_Settings):
    """How an encoder of the paper's kind, one target a row, is trained."""

    name: Literal["modern", "faithful"]
    sampler: SamplerSettings = SamplerSettings()
    relaxation: RelaxationSettings = RelaxationSettings()
    dropout: float = 0.2  # released: 0.5
    attention_dropout: float = 0.0  # released: 0.5
    norm_epsilon: float = 1e-6  # released: 1e-12
    # A causal encoder of the same shapes learns from every position of a window, so its weights
    # are a cheap start for all arms. 0: from scratch, as in the paper.
    warm_start_epochs: int = Field(default=0, ge=0)
    warm_start_learning_rate: float = 1e-3
    warm_start_batch: int = Field(default=64, ge=1)  # windows
    relaxed_epochs: int = Field(ge=0)  # C of Algorithm 1: stage 1, soft sample, sampler trained
    hard_epochs: int = Field(ge=1)  # stage 2 at most; arms without stage 1 get both shares
    batch: int = Field(ge=1)  # rows; released: 6000
    learning_rate: float = 5e-4  # Adam; released: 1e-4
    sampler_learning_rate: float = 1e-2  # of the sampler's 97 weights; released: as the others
    warmup_steps: int = Field(default=0, ge=0)
    evaluate_every: int | None = None  # epochs between validations; None: only at the end
    patience: int | None = None  # validations without a new best
    # The full softmax of the paper. A chunk of logits that fits a cache is faster than all at once.
    loss: AnyLoss = ChunkedSoftmaxSettings(chunk_bytes=2**20)
    seeds: int | None = Field(default=None, ge=1)  # of the profile's; None: all


class CausalSettings(_Settings):
    """SASRec as its authors train it, causal with a target at every position; full softmax."""

    layers: tuple[int, ...] = (2,)  # the first one is the claim's; deeper ones beside it
    heads: int = 1
    dropout: float = 0.2
    epochs: int = Field(ge=1)
    batch: int = Field(default=64, ge=1)  # windows
    learning_rate: float = 1e-3
    evaluate_every: int | None = None
    patience: int | None = None


class EfficiencySettings(_Settings):
    """The four measurements of time and memory, and the curve over the length."""

    batch: int = Field(ge=1)  # histories in a forward pass (E1, E2)
    repeats: int = Field(ge=3)  # timed passes, after a quarter as many untimed ones
    # E1 measures in float32 with plain matrix products, as the authors did.
    inference_dtype: Literal["float32", "bfloat16"] = "float32"  # E2, E3
    compile: bool = False  # E3
    serving_batches: tuple[int, ...] = (1, 8, 64)  # E3
    serving_calls: int = Field(ge=20)  # E3, of each size
    lengths: tuple[int, ...]  # of the curve
    tokens: int = Field(ge=1)  # in a forward pass of the curve, the same at every length


class StrecProfile(Profile):
    """All settings of the chapter ``strec``."""

    chapter: ClassVar[str] = "strec"

    datasets: tuple[DataSettings, ...] = Field(min_length=1)  # figures are of the first
    network: NetworkSettings = NetworkSettings()
    recipes: tuple[Recipe, ...] = Field(min_length=1)  # every arm runs under the first
    causal: CausalSettings
    # Arms beside backbone, STRec, recency and random: rankings of STRec at the same schedule.
    extra_rankings: tuple[Literal["position", "no_noise", "content"], ...] = ()
    references: tuple[ReferenceName, ...] = ()  # recommenders of other papers, one seed each
    sweep: tuple[Schedule, ...]  # of the recency ranking, which needs no training of its own
    sweep_learned: tuple[Schedule, ...] = ()  # also with a learned sample
    sweep_seeds: int = Field(default=1, ge=1)  # of the profile's seeds
    # Drop-in replacements of attention, trained from the same start where shapes agree.
    mixers: tuple[AnyMixer, ...] = ()
    distilling: bool = True  # Informer once more, halving the tokens between layers
    relaxed_epoch_sweep: tuple[int, ...] = ()  # C of Figure 6
    noise_draws: int = Field(default=5, ge=2)  # of the noise that the paper has at inference
    attention_histories: int = Field(default=512, ge=8)  # whose weights are looked at
    bootstrap: int = Field(default=1000, ge=100)  # resamples of the users, 95 % interval
    evaluation_batch: int = Field(default=512, ge=1)
    mixed_precision: Literal["no", "bf16"] = "no"
    compile: bool = False  # torch.compile of all trained encoders
    efficiency: EfficiencySettings

    @model_validator(mode="after")
    def _schedules_fit(self) -> Self:
        for data in self.datasets:
            check_schedule(data.schedule, data.length, self.network.layers)
        for schedule in (*self.sweep, *self.sweep_learned):
            check_schedule(schedule, self.main.length, self.network.layers)
        if not self.recipe.warm_start_epochs:
            raise ValueError("the first recipe needs a warm start: its causal encoder is a control")
        if not set(self.sweep_learned) <= {*self.sweep, self.main.schedule}:
            raise ValueError("sweep_learned has a schedule that is not in sweep")
        if len({recipe.name for recipe in self.recipes}) < len(self.recipes):
            raise ValueError("recipes need different names")
        return self

    @property
    def main(self) -> DataSettings:
        """The data that figures and most claims are about."""
        return self.datasets[0]

    @property
    def recipe(self) -> Recipe:
        """The recipe that all arms run under."""
        return self.recipes[0]

    def backbone(self, data: DataSettings, recipe: Recipe) -> BackboneSettings:
        """Return the encoder that STRec prunes: bidirectional, post-norm, one target a row."""
        return BackboneSettings(
            length=data.length,
            width=self.network.width,
            heads=self.network.heads,
            layers=self.network.layers,
            hidden=self.network.hidden,
            causal=False,
            dropout=recipe.dropout,
            attention_dropout=recipe.attention_dropout,
            activation="gelu",
            norm="post",
            norm_epsilon=recipe.norm_epsilon,
            embedding_norm=True,
            padding_side="left",
        )
