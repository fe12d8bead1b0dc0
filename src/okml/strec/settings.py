"""The settings of the chapter."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from okml.data.logs import LogName
from okml.errors import ParameterError
from okml.profile import Profile
from okml.seqrec.interactions import TieRule
from okml.seqrec.losses import AnyLoss, ChunkedSoftmaxSettings
from okml.seqrec.mixers import MIXERS, MixerName
from okml.seqrec.settings import BackboneSettings
from okml.settings import (
    AtLeastOne,
    BelowOne,
    Count,
    Depth,
    Distinct,
    Fraction,
    LearningRate,
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


class DataSettings(Settings):
    """One log and its protocol. The candidates are always all items."""

    log: LogName
    length: Annotated[Count, Field(ge=2)]  # N, items of a window
    schedule: Schedule  # STRec's k_1 to k_L
    activation: Literal["tanh", "relu"] = "tanh"  # the sampler's; relu in the code for 8 items
    short_lengths: Distinct[Count]  # lengths of backbones that read only the newest items
    # The order of a user's events of one time: drawn with the seed of the run, or the file's, which
    # a model can learn where it is the same for all users, as in MovieLens-1M.
    tie_rule: TieRule = "random"
    # Least events of a user and of an item, the filter of the paper; None: no filter.
    k_core: tuple[Count, Count] | None = None
    # per_user_ratio: the authors' 8/11, 2/11, 1/11 of each user's rows. last_events: the newest
    # `held_out` rows are the test, the `held_out` before them validation.
    split: Literal["per_user_ratio", "last_events", "leave_one_out"] = "per_user_ratio"
    held_out: Count = 5
    rows_per_user: Count | None = None  # newest training rows of a user to keep; None: all
    validation_rows: Count | None = None  # sample of validation rows for early stopping; None: all

    _short = rule(
        lambda data: max(data.short_lengths, default=0) <= data.length,
        "short_lengths {short_lengths} exceed the window of {length} items",
    )


class NetworkSettings(Settings):
    """The sizes of every encoder of the chapter; the defaults are those of the authors' code."""

    width: Width = 128
    heads: Depth = 4
    hidden: Width = 512
    layers: Depth = 8

    _heads = heads_divide()


class Recipe(Settings):
    """The training of an encoder with one target for each row, as in the paper."""

    name: Literal["modern", "faithful"]
    sampler: SamplerSettings = SamplerSettings()
    relaxation: RelaxationSettings = RelaxationSettings()
    dropout: BelowOne = 0.2  # released: 0.5
    attention_dropout: BelowOne = 0.0  # released: 0.5
    norm_epsilon: Fraction = 1e-6  # released: 1e-12
    from_scratch: bool = False  # True: as in the paper; False: training goes on from the warm start
    relaxed_epochs: Whole  # C of Algorithm 1: stage 1, soft sample, sampler trained
    hard_epochs: Count  # largest number of epochs of stage 2; arms without stage 1 get the sum
    batch: Count  # rows; released: 6000
    # Adam, a grid: each arm takes the rate with the best validation of the first seed for all
    # seeds. Released: 1e-4.
    learning_rates: AtLeastOne[LearningRate] = (5e-4,)
    # Of its 97 weights, at every rate of the grid; None: the rate of all others, as released.
    sampler_learning_rate: LearningRate | None = 1e-2
    warmup_steps: Whole = 0
    evaluate_every: Count | None = None  # epochs between validations; None: only at the end
    patience: Count | None = None  # validations without a new best, in stage 2
    # The full softmax of the paper, in chunks of logits that fit the cache.
    loss: AnyLoss = ChunkedSoftmaxSettings(chunk_bytes=2**20)

    _stops = stops_early()


class WindowSettings(Settings):
    """The training of a causal encoder, with a target at every position of a window."""

    epochs: Count  # the largest number
    batch: Count = 64  # windows
    learning_rates: AtLeastOne[LearningRate] = (1e-3,)  # a grid, as in a recipe
    warmup_steps: Whole = 0
    ema_decay: Fraction | None = None  # decay of the averaged weights, which replace them
    evaluate_every: Count | None = None  # epochs between validations; None: only at the end
    patience: Count | None = None  # validations without a new best

    _stops = stops_early()


class CausalSettings(WindowSettings):
    """SASRec with its authors' training; full softmax.

    It is the anchor to the literature, where it is the strongest of the simple recommenders.
    """

    layers: AtLeastOne[Depth] = (2,)  # the first number is the claim's; others are for comparison
    heads: Depth = 1
    dropout: BelowOne = 0.2


class EfficiencySettings(Settings):
    """The four measurements of time and memory, and the curve over the length."""

    batch: Count  # histories in a forward pass (E1, E2)
    repeats: Annotated[Count, Field(ge=3)]  # timed passes, after a quarter as many warm-up ones
    serving_batches: AtLeastOne[Count] = (1, 8, 64)  # E3
    serving_calls: Annotated[Count, Field(ge=20)]  # calls for each batch size of E3
    lengths: AtLeastOne[Count]  # lengths of the curve
    tokens: Count  # number of tokens in a forward pass of the curve, equal at all lengths


class StrecProfile(Profile):
    """All settings of the chapter ``strec``."""

    chapter: ClassVar[str] = "strec"

    # Figures show the first data set.
    datasets: Annotated[tuple[DataSettings, ...], different("log")] = Field(min_length=1)
    network: NetworkSettings = NetworkSettings()
    # All arms use the first recipe.
    recipes: Annotated[tuple[Recipe, ...], different("name")] = Field(min_length=1)
    # A prefix language model of the backbone's shapes, whose weights are the start of all arms. It
    # has a target at each position after a prefix of a window, so it learns fast.
    warm_start: WindowSettings
    causal: CausalSettings
    # Rankings of STRec at the same schedule beside learned, recency and random.
    extra_rankings: Distinct[Literal["position", "no_noise", "content", "uniform"]] = ()
    references: Distinct[ReferenceName] = ()  # recommenders of other papers
    sweep: AtLeastOne[Schedule]  # schedules with the ranking by recency
    sweep_learned: Distinct[Schedule] = ()  # schedules also with a learned sample
    # Replacements of attention, with the weights of the same warm start where shapes agree.
    mixers: Distinct[MixerName] = ()
    relaxed_epoch_sweep: Distinct[Whole] = ()  # values of C in Figure 6
    noise_draws: Annotated[Count, Field(ge=2)] = 5  # draws of the paper's noise at inference
    attention_histories: Annotated[Count, Field(ge=8)] = 512  # histories for attention statistics
    evaluation_batch: Count = 512
    # Of trainings, of inference (E2, E3) and of E4. E1 is always in float32 with plain matrix
    # products, as the authors did.
    mixed_precision: Literal["no", "bf16"] = "no"
    compile: bool = False  # torch.compile of all trained encoders, and in E3
    efficiency: EfficiencySettings

    _warm = rule(
        lambda profile: not profile.recipe.from_scratch,
        "the first recipe needs a warm start: read causally, it is a control",
    )
    _relaxed = rule(
        lambda profile: profile.recipe.relaxed_epochs > 0,
        "the first recipe needs relaxed_epochs: what stage 1 adds is measured with it",
    )
    _learned = rule(
        lambda profile: {*profile.sweep_learned} <= {*profile.sweep, profile.main.schedule},
        "sweep_learned has a schedule that is not in sweep",
    )
    _bidirectional = rule(
        lambda profile: all(MIXERS[mixer].supports_bidirectional for mixer in profile.mixers),
        "mixers replace attention in both directions, and mamba is causal: see `references`",
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
        except ParameterError as error:
            raise ValueError(error.message) from None
        return self

    def sasrec(self, data: DataSettings, layers: int) -> BackboneSettings:
        """Return the settings of a causal SASRec."""
        return BackboneSettings(
            length=data.length,
            width=self.network.width,
            heads=self.causal.heads,
            layers=layers,
            hidden=self.network.hidden,
            dropout=self.causal.dropout,
        )

    @property
    def main(self) -> DataSettings:
        """The first data set, that of figures and most claims."""
        return self.datasets[0]

    @property
    def recipe(self) -> Recipe:
        """The first recipe, that of all arms."""
        return self.recipes[0]

    def backbone(self, data: DataSettings, recipe: Recipe) -> BackboneSettings:
        """Return the settings of STRec's backbone: bidirectional, post-norm."""
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
