"""The settings of the chapter, and its four scales."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from okml.data.catalog import catalog
from okml.paths import is_folder
from okml.profile import Budget, Profile, by_name
from okml.settings import (
    AtLeastOne,
    Count,
    Distinct,
    Exponent,
    Fraction,
    LearningRate,
    NonNegative,
    Real,
    Settings,
    Share,
    Text,
    Whole,
    Width,
    one_of,
    rule,
)
from okml.space_time import entities
from okml.space_time.paper import SETS
from okml.space_time.prompts import prompts_of

PLACES = {"world_place", "us_place", "nyc_place"}  # sets of the paper with coordinates
# Sets that one claim is about at different scales: their metrics are named after one of them.
STAND_INS = {"us_towns": "us_place", "historical_figure": "people", "headline": "events"}

SetName = Annotated[str, one_of("entity set", lambda: entities.REGISTRY)]
DataName = Annotated[str, one_of("entry in the data catalog", catalog)]
ModelName = Annotated[str, one_of("folder or model in the data catalog", catalog, is_folder)]


class NamedNeuron(Settings):
    """A neuron that the paper names, and the set whose target it follows."""

    layer: Whole
    neuron: Whole
    set: SetName


class ModelSettings(Settings):
    """One causal language model and how it is held while it is read."""

    name: ModelName
    family: Text  # sizes of one family make the curve over model size
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    # The paper reads Llama-2-70B with 8-bit weights (LLM.int8); we default to exact weights.
    quantization: Literal["int8", "nf4"] | None = None
    # resident: the whole model in memory; layerwise: one block at a time, for models larger than it
    placement: Literal["resident", "layerwise"] = "resident"
    # Neurons are read and pinned in this model; none marked: in the largest that is held whole.
    intervened: bool = False
    named_neurons: Distinct[NamedNeuron] = ()  # Appendix B and Figure 5
    # Layers of Table 2, which the paper sets by depth, and of the hold-outs, Tables 3 and 4; None:
    # at `probe.depth`, and that of Table 2.
    table_layer: Whole | None = None
    holdout_layer: Whole | None = None

    @model_validator(mode="after")
    def _streamed_weights_are_plain(self) -> Self:
        if self.placement == "layerwise" and self.quantization is not None:
            raise ValueError(f"{self.name} is read block by block, which takes plain weights")
        if self.intervened and not self.whole:
            raise ValueError(f"{self.name} must be resident and unquantized to be intervened in")
        return self

    @property
    def whole(self) -> bool:
        """Whether its plain weights are in memory."""
        return self.placement == "resident" and self.quantization is None


class ProbeSettings(Settings):
    """The ridge probe, section 3.1 of the paper, and the probes it is compared with."""

    # Each activation row is divided by its root mean square; "raw" is the authors' choice.
    preprocess: Literal["rms", "raw"] = "rms"
    # λ = trace(G)/d · 10^k for evenly spaced k: wide enough that the best is never at an edge.
    lambda_exponents: tuple[Exponent, Exponent] = (-6.0, 2.0)
    lambdas: Annotated[Count, Field(ge=3)] = 22
    pca_dimensions: Distinct[Count] = (2, 4, 6, 8, 10, 15, 20, 30, 40, 50, 75, 100)  # Figure 4
    depth: Fraction = 0.6  # share of the blocks: the layer of Table 2
    # The MLP of Table 2: Linear(d, 256), ReLU, Linear(256, t).
    mlp_hidden: Width = 256
    mlp_learning_rate: LearningRate = 1e-3  # AdamW
    mlp_weight_decays: AtLeastOne[NonNegative] = (0.01, 0.03, 0.1, 0.3)  # chosen on validation rows
    mlp_batch: Count = 512
    mlp_epochs: Count = 20
    mlp_patience: Count = 3

    _grid = rule(
        lambda probe: probe.lambda_exponents[0] < probe.lambda_exponents[1],
        "lambda_exponents {lambda_exponents} must ascend",
    )


class NeuronSettings(Settings):
    """The search for space and time neurons, Figure 5."""

    entities: Annotated[Count, Field(ge=10)] = 3000  # rows of a set that the search reads
    random_draws: Count = 1  # times that each seed draws as many random directions: the control


class SteeringSettings(Settings):
    """Pushing the residual stream along the probe's direction, after Appendix B."""

    entities: Annotated[Count, Field(ge=2)] = 60  # cities asked about
    # Push in units of the mean residual norm. Larger ones push any direction's output around.
    strengths: AtLeastOne[Real] = (-0.25, -0.125, 0.125, 0.25)
    depth: Fraction = 0.5  # share of the blocks: the layer that is pushed
    random_directions: Count = 10  # the control: pushes of the same length
    ablated_neurons: Count = 3  # best space neurons set to zero one at a time
    matched_neurons: Count = 20  # the control: neurons of the same layers that fire as strongly
    contexts: Count = 40  # dictionary entries of each topic whose loss is watched
    swept_works: Annotated[Count, Field(ge=2)] = 20  # prompts under which time neurons are pinned
    swept_controls: Count = 9  # the control: the paper pins the first nine neurons of the layer

    _pushes = rule(lambda steering: 0 not in steering.strengths, "a strength of 0 is no push")
    _both_ways = rule(
        lambda steering: {*steering.strengths} == {-push for push in steering.strengths},
        "strengths need the opposite of every push",
    )


class SpaceTimeProfile(Profile):
    """All settings of the chapter ``space_time``."""

    chapter: ClassVar[str] = "space_time"

    models: AtLeastOne[ModelSettings]  # small to large; the last one is read in full
    sets: AtLeastOne[SetName]  # entity sets, section 2 of the paper
    place_set: SetName = "world_place"  # the set of the headline claim on space
    time_set: SetName = "art"  # the set of the headline claim on time: the paper's Entertainment
    type_set: SetName = "world_place"  # the set of the claim on entity types
    zip_set: SetName = "us_place"  # the set whose ZIP codes are decided by their digits
    entities: Count | None = Field(default=None, ge=100)  # rows kept of each set; None: all
    zip_entities: Count | None = Field(default=None, ge=100)  # rows of zip_set in the ZIP check
    # Share of the kept rows that one seed draws (train and test apart). The paper has one split;
    # drawing a part of it shows how much a result depends on which entities it saw.
    resample: Share = 1.0
    prompt_sets: AtLeastOne[SetName]  # sets read under several prompts, Figure 3
    prompts: Distinct[Text] | None = None  # variants besides the paper's question; None: all
    table_sets: AtLeastOne[SetName]  # sets of Tables 2 to 4, Figures 4 and 5, and of every model
    # What is held out: the most frequent countries, states, decades and all entity types but the
    # majority, or what the authors' code lists for each of their sets.
    held_out: Literal["frequent", "paper"] = "frequent"
    holdout_blocks: Annotated[Count, Field(ge=2)] = 20  # number of the most frequent ones
    holdout_min_rows: Annotated[Count, Field(ge=2)] = 20  # a block with fewer rows says nothing
    word_vectors: DataName | None = None  # static vectors in the catalog; None: control not run
    probe: ProbeSettings = ProbeSettings()
    neurons: NeuronSettings = NeuronSettings()
    steering: SteeringSettings = SteeringSettings()
    batch_tokens: Annotated[Count, Field(ge=16)] = 1024  # tokens in one forward pass
    activation_dtype: Literal["float16", "float32"] = "float16"  # type on disk
    # True: all layers of every pass stay on disk, so that a changed step reads no model again.
    # False: only the layers that a later step reads; see `okml.space_time.arms.layers_kept`.
    keep_activations: bool = True

    @model_validator(mode="after")
    def _sets_are_listed(self) -> Self:
        for name in (
            self.place_set, self.time_set, self.type_set, *self.prompt_sets, *self.table_sets
        ):  # fmt: skip
            if name not in self.sets:
                raise ValueError(f"{name!r} is not among the sets {', '.join(self.sets)}")
        about = {name: entities.find(name).paper_set for name in (*self.sets, self.zip_set)}
        if about[self.place_set] not in PLACES or about[self.time_set] in PLACES:
            raise ValueError("place_set needs places, and time_set something that has a year")
        if about[self.zip_set] != "us_place":
            raise ValueError(f"zip_set needs places with ZIP codes, not {self.zip_set!r}")
        if self.place_set not in self.prompt_sets:
            raise ValueError(f"the claims on prompts need {self.place_set!r} in prompt_sets")
        if not {self.place_set, self.time_set} <= set(self.table_sets):
            raise ValueError("table_sets need place_set and time_set, which claims are about")
        if self.prompts is not None and not {"empty", "random", "ordinary"} <= set(self.prompts):
            raise ValueError("the claims on prompts need 'empty', 'random' and 'ordinary'")
        known = {prompt for name in self.prompt_sets for prompt in prompts_of(name)}
        if unknown := sorted(set(self.prompts or ()) - known):
            raise ValueError(
                f"no set is read under the prompt {unknown[0]!r}; known: {', '.join(sorted(known))}"
            )
        return self

    @model_validator(mode="after")
    def _one_model_is_resident(self) -> Self:
        if not any(settings.whole for settings in self.models):
            raise ValueError("one model must be resident and unquantized: neurons are read in it")
        if sum(settings.intervened for settings in self.models) > 1:
            raise ValueError("only one model can be intervened in")
        for named in self.resident_model.named_neurons:
            if named.set not in self.table_sets:
                raise ValueError(f"{named.set!r}, which a named neuron follows, is not read for it")
        return self

    def stem(self, name: str) -> str:
        """Return what the names of a set's metrics begin with; a stand-in has those of its set."""
        main = {self.place_set: "place", self.time_set: "time"}
        return main.get(name, STAND_INS.get(name, name))

    @property
    def model(self) -> ModelSettings:
        """The model whose residual stream is probed: the largest."""
        return self.models[-1]

    @property
    def resident_model(self) -> ModelSettings:
        """The model in which neurons are read and pinned, and the stream is pushed.

        Its weights are in memory and plain; it also has the untrained control. The paper
        intervenes in Llama-2-7B, not in the 70B that it probes.
        """
        whole = [settings for settings in self.models if settings.whole]
        return next((settings for settings in whole if settings.intervened), whole[-1])


SMOLLM2 = ModelSettings(name="smollm2_135m", family="SmolLM2")
# Three times as fast on processors that multiply bfloat16 natively, and R² differs by less than
# 0.005. On others `-p models.0.dtype=float32` is faster.
SMOLLM2_BF16 = SMOLLM2.model_copy(update={"dtype": "bfloat16"})


def _llama2(size: str, table_layer: int, holdout_layer: int, **held: Any) -> ModelSettings:
    return ModelSettings(
        name=f"llama2_{size}",
        family="Llama-2",
        dtype="bfloat16",
        table_layer=table_layer,
        holdout_layer=holdout_layer,
        **held,
    )


# Neurons of Llama-2-7B in Appendix B; those of time were found on the set Entertainment.
PAPER_NEURONS = (
    NamedNeuron(layer=19, neuron=3610, set="art"),
    NamedNeuron(layer=18, neuron=9387, set="art"),
    NamedNeuron(layer=20, neuron=7573, set="world_place"),
    NamedNeuron(layer=20, neuron=7423, set="world_place"),
)


def _pythia(size: str) -> ModelSettings:
    return ModelSettings(name=f"pythia_{size}", family="Pythia", dtype="bfloat16")


# The view without ZIP codes is a control: their digits are a geographic code.
RELEASED_SETS = ("world_place", "us_place", "us_place_without_zip", "nyc_place", "art")

SMOKE = SpaceTimeProfile(
    name="smoke",
    budget=Budget(minutes=1.5, memory_gib=4, disk_gib=2),
    seeds=(0,),
    models=(SMOLLM2,),
    sets=("cities", "us_towns", "people"),
    place_set="cities",
    time_set="people",
    type_set="us_towns",
    zip_set="us_towns",
    entities=200,
    zip_entities=3000,
    prompt_sets=("cities",),
    prompts=("empty", "random", "ordinary"),
    table_sets=("cities", "people"),
    holdout_blocks=5,
    holdout_min_rows=6,
    probe=ProbeSettings(mlp_weight_decays=(0.1,)),
    neurons=NeuronSettings(entities=200),
    steering=SteeringSettings(
        entities=10,
        strengths=(-0.25, 0.25),
        random_directions=3,
        ablated_neurons=1,
        matched_neurons=4,
        contexts=6,
        swept_works=3,
        swept_controls=2,
    ),
)

CPU = SpaceTimeProfile(
    name="cpu",
    budget=Budget(minutes=12, memory_gib=8, disk_gib=6),
    seeds=(0, 1, 2),
    models=(SMOLLM2_BF16,),
    sets=(*RELEASED_SETS, "people"),
    entities=2500,
    resample=0.8,
    prompt_sets=("world_place",),
    prompts=("empty", "random", "ordinary"),
    table_sets=("world_place", "art"),
    word_vectors="glove_100d",
    neurons=NeuronSettings(entities=1000),
    batch_tokens=4096,
)

# The paper's four released sets in full, by its own split, and the dated names that packages hold.
# A seed draws what is random in a method; all of them read every name.
NIGHT = SpaceTimeProfile(
    name="night",
    budget=Budget(minutes=90, memory_gib=12, disk_gib=10),
    seeds=(0, 1, 2),
    models=(SMOLLM2_BF16,),
    sets=(*RELEASED_SETS, "people", "events"),
    # What claims ask about, and two small sets. All prompts of all sets would take another hour.
    prompt_sets=("world_place", "people", "events"),
    prompts=("empty", "random", "ordinary"),
    table_sets=("world_place", "us_place", "nyc_place", "people", "art", "events"),
    holdout_blocks=50,  # countries are what the intervals of hold-outs sample; the paper has 20
    word_vectors="glove_100d",
    neurons=NeuronSettings(entities=1500, random_draws=2),
    steering=SteeringSettings(
        entities=200, random_directions=20, contexts=100, swept_works=100, swept_controls=20
    ),
    batch_tokens=4096,
    keep_activations=False,
)

GPU = SpaceTimeProfile(
    name="gpu",
    budget=Budget(minutes=12 * 60, memory_gib=64, disk_gib=400, gpu_memory_gib=80),
    seeds=(0, 1, 2),
    models=(
        *(_pythia(size) for size in ("160m", "410m", "1b", "1.4b", "2.8b", "6.9b")),
        _llama2("7b", 20, 22, intervened=True, named_neurons=PAPER_NEURONS),
        _llama2("13b", 24, 25),
        _llama2("70b", 48, 50, placement="layerwise"),
    ),
    sets=(*RELEASED_SETS, "historical_figure", "headline"),
    prompt_sets=SETS,
    table_sets=SETS,
    held_out="paper",
    word_vectors="glove_100d",
    neurons=NeuronSettings(entities=40_000, random_draws=3),
    steering=SteeringSettings(
        entities=1000,
        strengths=(-0.25, -0.125, -0.0625, 0.0625, 0.125, 0.25),
        random_directions=50,
        matched_neurons=200,
        contexts=2000,
        swept_works=200,
    ),
    # A batch keeps its keys and values until the last block, those of the shared prefix once for
    # each name: 65,536 tokens of the USA's names would take 125 GiB of them in Llama-2-13B.
    batch_tokens=4_096,
    keep_activations=False,
)

PROFILES = by_name(SMOKE, CPU, NIGHT, GPU)
