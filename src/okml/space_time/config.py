"""The settings of the chapter, and its three scales."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from okml.profile import Budget, Profile, ProfileName


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSettings(_Settings):
    """One causal language model and how it is held while it is read."""

    name: str  # in the data catalog, or a local folder
    family: str  # sizes of one family make the curve over model size
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    # The paper reads Llama-2-70B with 8-bit weights (LLM.int8); we default to exact weights.
    quantization: Literal["int8", "nf4"] | None = None
    # resident: the whole model in memory; layerwise: one block at a time, for models larger than it
    placement: Literal["resident", "layerwise"] = "resident"

    @model_validator(mode="after")
    def _streamed_weights_are_plain(self) -> Self:
        if self.placement == "layerwise" and self.quantization is not None:
            raise ValueError(f"{self.name} is read block by block, which takes plain weights")
        return self


class ProbeSettings(_Settings):
    """The ridge probe, section 3.1 of the paper, and the probes it is compared with."""

    # Each activation row is divided by its root mean square; "raw" is the authors' choice.
    preprocess: Literal["rms", "raw"] = "rms"
    # λ = trace(G)/d · 10^k for evenly spaced k: wide enough that the best is never at an edge.
    lambda_exponents: tuple[float, float] = (-6.0, 2.0)
    lambdas: int = Field(default=22, ge=3)
    bootstrap: int = Field(default=1000, ge=100)  # resamples of the test entities, 95 % interval
    pca_dimensions: tuple[int, ...] = (2, 4, 6, 8, 10, 15, 20, 30, 40, 50, 75, 100)  # Figure 4
    depth: float = Field(default=0.6, gt=0, lt=1)  # of the layer for Table 2 and Figure 4
    # The MLP of Table 2: Linear(d, 256), ReLU, Linear(256, t).
    mlp_hidden: int = 256
    mlp_learning_rate: float = 1e-3  # AdamW
    mlp_weight_decays: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)  # chosen on validation rows
    mlp_batch: int = 512
    mlp_epochs: int = 20
    mlp_patience: int = 3


class NeuronSettings(_Settings):
    """The search for space and time neurons, Figure 5."""

    entities: int = 3000  # rows of the place and time sets that the search reads
    shuffles: int = Field(default=5, ge=1)  # searches on shuffled targets: the null of the maximum


class SteeringSettings(_Settings):
    """Pushing the residual stream along the probe's direction, after Appendix B."""

    entities: int = 60  # cities asked about
    # Push in units of the mean residual norm. Larger ones push any direction's output around.
    strengths: tuple[float, ...] = (-0.25, -0.125, 0.125, 0.25)
    depth: float = Field(default=0.5, gt=0, lt=1)  # of the layer that is pushed
    random_directions: int = Field(default=10, ge=1)  # of the same length, the control
    ablated_neurons: int = Field(default=3, ge=1)  # best space neurons set to zero one at a time
    random_neurons: int = Field(default=20, ge=1)  # of the same layers, the control
    contexts: int = 40  # geographic sentences whose loss is watched

    @model_validator(mode="after")
    def _pushes_go_both_ways(self) -> Self:
        if not self.strengths or set(self.strengths) != {-push for push in self.strengths}:
            raise ValueError("strengths need the opposite of every push")
        return self


class SpaceTimeProfile(Profile):
    """All settings of the chapter ``space_time``."""

    chapter: ClassVar[str] = "space_time"

    models: tuple[ModelSettings, ...] = Field(
        min_length=1
    )  # small to large; the last one is read in full
    sets: tuple[str, ...] = Field(min_length=1)  # entity sets, section 2 of the paper
    place_set: str  # the set of the headline claim on space: the paper's World
    time_set: str  # the set of the headline claim on time: the paper's Entertainment
    type_set: str  # the set of the claim on entity types: the paper's World
    zip_set: str  # the set whose ZIP codes are decided by their digits: the paper's USA
    entities: int | None = Field(default=None, ge=100)  # rows kept of each set; None: all
    zip_entities: int | None = Field(default=None, ge=100)  # rows of zip_set in the ZIP check
    # Share of the kept rows that one seed draws (train and test apart). The paper has one split;
    # drawing a part of it shows how much a result depends on which entities it saw.
    resample: float = Field(default=1.0, gt=0, le=1)
    prompt_sets: tuple[str, ...]  # sets read under several prompts, Figure 3
    prompts: tuple[str, ...] | None = None  # variants besides the paper's question; None: all
    holdout_blocks: int = Field(
        default=20, ge=2
    )  # most frequent countries, states, decades held out
    holdout_min_rows: int = Field(default=20, ge=2)  # a block with fewer rows says nothing
    word_vectors: str | None = None  # static vectors in the catalog; None: control not run
    probe: ProbeSettings = ProbeSettings()
    neurons: NeuronSettings = NeuronSettings()
    steering: SteeringSettings = SteeringSettings()
    batch_tokens: int = Field(default=1024, ge=16)  # tokens in one forward pass
    activation_dtype: Literal["float16", "float32"] = "float16"  # on disk
    keep_activations: bool = True  # False: a set's activations are deleted once probed

    @model_validator(mode="after")
    def _sets_are_listed(self) -> Self:
        for name in (self.place_set, self.time_set, self.type_set, *self.prompt_sets):
            if name not in self.sets:
                raise ValueError(f"{name!r} is not among the sets {self.sets}")
        if self.place_set not in self.prompt_sets:
            raise ValueError(f"the claims on prompts need {self.place_set!r} in prompt_sets")
        if self.prompts is not None and not {"empty", "random"} <= set(self.prompts):
            raise ValueError("the claims on prompts need the prompts 'empty' and 'random'")
        return self

    @model_validator(mode="after")
    def _one_model_is_resident(self) -> Self:
        if not any(_is_whole(settings) for settings in self.models):
            raise ValueError("one model must be resident and unquantized: neurons are read in it")
        return self

    @property
    def model(self) -> ModelSettings:
        """The model whose residual stream is probed: the largest."""
        return self.models[-1]

    @property
    def resident_model(self) -> ModelSettings:
        """The largest model that is in memory with plain weights.

        Neurons are read and pinned in it, its stream is pushed, and it has an untrained control.
        The paper intervenes in Llama-2-7B, not in the 70B that it probes.
        """
        return next(settings for settings in reversed(self.models) if _is_whole(settings))


def _is_whole(settings: ModelSettings) -> bool:
    return settings.placement == "resident" and settings.quantization is None


SMOLLM2 = ModelSettings(name="smollm2_135m", family="SmolLM2")
# Three times as fast on processors that multiply bfloat16 natively, and R² differs by less than
# 0.005. On others `-p models.0.dtype=float32` is faster.
SMOLLM2_BF16 = SMOLLM2.model_copy(update={"dtype": "bfloat16"})


def _llama2(size: str, placement: Literal["resident", "layerwise"]) -> ModelSettings:
    return ModelSettings(
        name=f"llama2_{size}", family="Llama-2", dtype="bfloat16", placement=placement
    )


def _pythia(size: str) -> ModelSettings:
    return ModelSettings(name=f"pythia_{size}", family="Pythia", dtype="bfloat16")


SMOKE = SpaceTimeProfile(
    name="smoke",
    budget=Budget(minutes=1.5, memory_gib=4, disk_gib=2),
    seeds=(0,),
    models=(SMOLLM2,),
    sets=("cities", "us_towns", "people", "films"),
    place_set="cities",
    time_set="people",
    type_set="us_towns",
    zip_set="us_towns",
    entities=420,
    zip_entities=3000,
    prompt_sets=("cities",),
    prompts=("empty", "random"),
    holdout_blocks=5,
    holdout_min_rows=10,
    probe=ProbeSettings(bootstrap=200, mlp_weight_decays=(0.1,)),
    neurons=NeuronSettings(entities=420, shuffles=1),
    steering=SteeringSettings(
        entities=16,
        strengths=(-0.25, 0.25),
        random_directions=4,
        ablated_neurons=1,
        random_neurons=6,
        contexts=8,
    ),
)

CPU = SpaceTimeProfile(
    name="cpu",
    budget=Budget(minutes=12, memory_gib=8, disk_gib=6),
    seeds=(0, 1, 2),
    models=(SMOLLM2_BF16,),
    # The view without ZIP codes is a control: their digits are a geographic code.
    sets=("world_place", "us_place", "us_place_without_zip", "nyc_place", "art", "people"),
    place_set="world_place",
    time_set="art",
    type_set="world_place",
    zip_set="us_place",
    entities=4000,
    resample=0.8,
    prompt_sets=("world_place", "art"),
    word_vectors="glove_100d",
    batch_tokens=4096,
)

GPU = SpaceTimeProfile(
    name="gpu",
    budget=Budget(minutes=24 * 60, memory_gib=120, disk_gib=400, gpu_memory_gib=80),
    seeds=(0, 1, 2),
    device="cuda",
    models=(
        *(_pythia(size) for size in ("160m", "410m", "1b", "1.4b", "2.8b", "6.9b")),
        _llama2("7b", "resident"),
        _llama2("13b", "resident"),
        _llama2("70b", "layerwise"),
    ),
    sets=(
        "world_place",
        "us_place",
        "us_place_without_zip",
        "nyc_place",
        "historical_figure",
        "art",
        "headline",
    ),
    place_set="world_place",
    time_set="art",
    type_set="world_place",
    zip_set="us_place",
    prompt_sets=("world_place", "us_place", "nyc_place", "historical_figure", "art", "headline"),
    holdout_blocks=50,
    word_vectors="glove_100d",
    neurons=NeuronSettings(entities=40_000, shuffles=20),
    steering=SteeringSettings(
        entities=1000,
        strengths=(-0.25, -0.125, -0.0625, 0.0625, 0.125, 0.25),
        random_directions=50,
        random_neurons=200,
        contexts=2000,
    ),
    batch_tokens=65_536,
    keep_activations=False,
)

PROFILES: dict[ProfileName, SpaceTimeProfile] = {"smoke": SMOKE, "cpu": CPU, "gpu": GPU}
