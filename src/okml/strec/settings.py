"""The settings of the chapter."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from okml.data.logs import LogName
from okml.errors import ParameterError
from okml.profile import Profile
from okml.seqrec.losses import AnyLoss, ChunkedSoftmaxSettings
from okml.seqrec.mixers import AnyMixer, Shape, check_mixer
from okml.seqrec.settings import BackboneSettings
from okml.settings import (
    AtLeastOne,
    BelowOne,
    Count,
    Depth,
    Distinct,
    Fraction,
    LearningRate,
    Positive,
    Settings,
    Whole,
    Width,
    different,
    heads_divide,
    rule,
    stops_early,
)
from okml.strec.references import ReferenceName
from okml.strec.relaxation import RelaxationSettings
from okml.strec.sampler import SamplerSettings
from okml.strec.schedule import Schedule, check_schedule

SplitName = Literal["per_user_ratio", "last_events", "leave_one_out", "global_time"]


class DataSettings(Settings):
    """One log, and the protocol it is used under. Candidates are always all items."""

    log: LogName
    length: Count = Field(ge=2)  # N, items of a window
    schedule: Schedule  # STRec's k_1 to k_L
    activation: Literal["tanh", "relu"] = "tanh"  # of the sampler; relu in the code for 8 items
    short_lengths: Distinct[Count]  # of the backbone that reads the newest items only
    least_user_events: Count | None = None  # k-core filter of the paper; None: none
    least_item_events: Count | None = None
    # per_user_ratio: the authors' 8/11, 2/11, 1/11 of each user's rows. last_events: the newest
    # `held_out` rows test and the `held_out` before them choose. global_time: the last days.
    split: SplitName = "per_user_ratio"
    held_out: Count = 5
    test_days: Positive = 60
    # Newest training rows of a user; None: all. Rows are one target each.
    rows_per_user: Count | None = None
    # Validation rows that early stopping looks at, drawn once; None: all.
    validation_rows: Count | None = None

    _short = rule(
        lambda data: max(data.short_lengths, default=0) <= data.length,
        "short_lengths {short_lengths} exceed the window of {length} items",
    )
    _core = rule(
        lambda data: (data.least_user_events is None) == (data.least_item_events is None),
        "the filter needs both least_user_events and least_item_events, or neither",
    )


class NetworkSettings(Settings):
    """The sizes of every encoder of the chapter; the authors' code."""

    width: Width = 128
    heads: Depth = 4
    hidden: Width = 512
    layers: Depth = 8

    _heads = heads_divide()


class Recipe(Settings):
    """How an encoder of the paper's kind, one target a row, is trained."""

    name: Literal["modern", "faithful"]
    sampler: SamplerSettings = SamplerSettings()
    relaxation: RelaxationSettings = RelaxationSettings()
    dropout: BelowOne = 0.2  # released: 0.5
    attention_dropout: BelowOne = 0.0  # released: 0.5
    norm_epsilon: Fraction = 1e-6  # released: 1e-12
    # A causal encoder of the same shapes learns from every position of a window, so its weights
    # are a cheap start for all arms. 0: from scratch, as in the paper.
    warm_start_epochs: Whole = 0
    warm_start_learning_rate: LearningRate = 1e-3
    warm_start_batch: Count = 64  # windows
    relaxed_epochs: Whole  # C of Algorithm 1: stage 1, soft sample, sampler trained
    hard_epochs: Count  # stage 2 at most; arms without stage 1 get both shares
    batch: Count  # rows; released: 6000
    learning_rate: LearningRate = 5e-4  # Adam; released: 1e-4
    sampler_learning_rate: LearningRate = 1e-2  # of its 97 weights; released: as others
    warmup_steps: Whole = 0
    evaluate_every: Count | None = None  # epochs between validations; None: only at the end
    patience: Count | None = None  # validations without a new best
    # The full softmax of the paper. A chunk of logits that fits a cache is faster than all at once.
    loss: AnyLoss = ChunkedSoftmaxSettings(chunk_bytes=2**20)
    seeds: Count | None = None  # of the profile's; None: all

    _stops = stops_early()


class CausalSettings(Settings):
    """SASRec as its authors train it, causal with a target at every position; full softmax."""

    layers: AtLeastOne[Depth] = (2,)  # the first one is the claim's; deeper ones beside it
    heads: Depth = 1
    dropout: BelowOne = 0.2
    epochs: Count
    batch: Count = 64  # windows
    learning_rate: LearningRate = 1e-3
    evaluate_every: Count | None = None
    patience: Count | None = None

    _stops = stops_early()


class EfficiencySettings(Settings):
    """The four measurements of time and memory, and the curve over the length."""

    batch: Count  # histories in a forward pass (E1, E2)
    repeats: Count = Field(ge=3)  # timed passes, after a quarter as many untimed ones
    # E1 measures in float32 with plain matrix products, as the authors did.
    inference_dtype: Literal["float32", "bfloat16"] = "float32"  # E2, E3
    compile: bool = False  # E3
    serving_batches: AtLeastOne[Count] = (1, 8, 64)  # E3
    serving_calls: Count = Field(ge=20)  # E3, of each size
    lengths: AtLeastOne[Count]  # of the curve
    tokens: Count  # in a forward pass of the curve, the same at every length


class StrecProfile(Profile):
    """All settings of the chapter ``strec``."""

    chapter: ClassVar[str] = "strec"

    # Figures are of the first one.
    datasets: Annotated[tuple[DataSettings, ...], different("log")] = Field(min_length=1)
    network: NetworkSettings = NetworkSettings()
    # Every arm runs under the first one.
    recipes: Annotated[tuple[Recipe, ...], different("name")] = Field(min_length=1)
    causal: CausalSettings
    # Arms beside backbone, STRec, recency and random: rankings of STRec at the same schedule.
    extra_rankings: Distinct[Literal["position", "no_noise", "content"]] = ()
    references: Distinct[ReferenceName] = ()  # recommenders of other papers, one seed each
    # Schedules of the recency ranking, which needs no training of its own.
    sweep: AtLeastOne[Schedule]
    sweep_learned: Distinct[Schedule] = ()  # also with a learned sample
    sweep_seeds: Count = 1  # of the profile's seeds
    # Drop-in replacements of attention, trained from the same start where shapes agree.
    mixers: Annotated[tuple[AnyMixer, ...], different("kind")] = ()
    distilling: bool = True  # Informer once more, halving the tokens between layers
    relaxed_epoch_sweep: Distinct[Whole] = ()  # C of Figure 6
    noise_draws: Count = Field(default=5, ge=2)  # of the noise that the paper has at inference
    attention_histories: Count = Field(default=512, ge=8)  # whose weights are looked at
    evaluation_batch: Count = 512
    mixed_precision: Literal["no", "bf16"] = "no"
    compile: bool = False  # torch.compile of all trained encoders
    efficiency: EfficiencySettings

    _warm = rule(
        lambda profile: profile.recipe.warm_start_epochs > 0,
        "the first recipe needs a warm start: its causal encoder is a control",
    )
    _relaxed = rule(
        lambda profile: profile.recipe.relaxed_epochs > 0,
        "the first recipe needs relaxed_epochs: what stage 1 adds is measured with it",
    )
    _learned = rule(
        lambda profile: {*profile.sweep_learned} <= {*profile.sweep, profile.main.schedule},
        "sweep_learned has a schedule that is not in sweep",
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        network, causal = self.network, self.causal
        if network.width % causal.heads:
            raise ValueError(f"width {network.width} is not a multiple of {causal.heads} heads")
        stated = (recipe.relaxation.shifts for recipe in self.recipes)
        layers = {len(shifts) for shifts in stated if shifts is not None}
        if layers - {network.layers}:
            raise ValueError(f"{min(layers)} shifts are stated for {network.layers} layers")
        try:
            for schedule in (*self.sweep, *self.sweep_learned):
                check_schedule(schedule, self.main.length, network.layers)
            for data in self.datasets:
                check_schedule(data.schedule, data.length, network.layers)
                for mixer in self.mixers:
                    check_mixer(mixer, Shape(data.length, network.width, network.heads, False))
        except ParameterError as error:
            raise ValueError(error.message) from None
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
