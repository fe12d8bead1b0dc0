"""The plan of a run of the chapter, from the sizes of its models and sets alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from okml.data import catalog
from okml.plan import Item, Plan, sum_of
from okml.runtime import GIB
from okml.space_time import entities
from okml.space_time.arms import all_passes, layers_kept, needs
from okml.space_time.config import ModelSettings, SpaceTimeProfile
from okml.space_time.entities import wordnet
from okml.space_time.entities.columns import TEST_SHARE
from okml.space_time.model_sizes import describe_on_meta, known_config
from okml.space_time.paper import BLOCKS, TYPES
from okml.space_time.prompts import FILLER_TOKENS, prompt
from okml.space_time.ridge import LARGE_D

# Rows of each set: the paper's Table 1, and the packaged stand-ins.
SET_ROWS = {
    "world_place": 39_585,
    "us_place": 29_997,
    "us_place_without_zip": 17_464,
    "nyc_place": 19_838,
    "historical_figure": 37_539,
    "art": 31_321,
    "headline": 28_389,
    "cities": 5_996,
    "people": 2_501,
    "films": 15_157,
    "events": 1_363,
}
# Tokens of an entity under a prompt, with the document start: the mean over the paper's sets.
TOKENS = 14
OWN_TOKENS = 7  # those after the prompt, which a resident model reads once for all entities
# Tokens that all prompts of a set share, and the fewest that many names have besides.
SHARED_TOKENS, FEWEST_OWN_TOKENS = 9, 2
KNOCKOUTS = 4  # times that test places are read while their last token cannot see some others
TEXT_TOKENS = 25  # tokens of a question, a prompt about a work or a dictionary entry


class Speed(NamedTuple):
    """What a machine is assumed to do."""

    read: dict[str, float]  # FLOP/s of a model, by its number format
    probe: float  # FLOP/s in float64, for probes
    search: float  # FLOP/s in float32, for neurons
    eigen: int  # operations of all eigenvectors at the rate of probes, in cubes of the width
    mlp_step: float  # seconds of a batch of 512 through the MLP probe


# One H100, in float32 without TF32.
GPU = Speed({"float32": 40e12, "bfloat16": 400e12, "float16": 400e12}, 30e12, 20e12, 22, 1e-3)
# Two cores with bfloat16, between what the records of `cpu` and `night` tell of whole passes and
# searches of SmolLM2-135M; a probe of World takes a second and a half a layer.
CPU = Speed({"float32": 0.12e12, "bfloat16": 0.30e12, "float16": 0.12e12}, 0.03e12, 0.023e12, 6,
            5e-3)  # fmt: skip
# Seconds a name of one fit to its n-grams by conjugate gradients, and fits that choose its λ.
NGRAM_FIT, NGRAM_SEARCH = 7.5e-5, 15
DISK_BYTES = 2e9  # read a second, when a model is read block by block
STORED_BYTES = {"float16": 2, "float32": 4}
BATCH_WIDTHS = 15  # values held for a token of a batch, in widths of the residual stream
PROCESS_GIB = 2.7  # interpreter, torch, transformers, scikit-learn, frames; by the record of cpu
NYC_TYPES = 13  # facility types of the released file


def plan(profile: SpaceTimeProfile) -> Plan:
    """Return parameters, memory, disk, data and hours of a run, with the arithmetic shown."""
    counts = _Counts(profile)
    hours = []
    for model in profile.models:
        hours += [counts.reading(model), counts.probing(model)]
        if model.placement == "layerwise":
            hours.append(counts.streaming(model))
    hours += [counts.cheap(), counts.tables(), counts.interventions(), counts.neurons()]
    held = [[*counts.memory(model)] for model in profile.models]
    working = max(map(sum_of, held))
    beside = [counts.untrained(), counts.gathered()]
    largest = max(item.value for item in beside)
    return Plan.of(
        profile,
        sizes=[
            Item.number(f"parameters of {name}", size.parameters,
                        f"{size.n_layers} blocks of width {size.d_model}, counted on the meta "
                        "device")
            for name, size in counts.sizes.items()
        ],
        hours=hours,
        device=[item for items in held for item in items],
        beside=beside,
        disk=[counts.stored(), counts.downloads()],
        device_gib=working,
        memory_gib=PROCESS_GIB + (largest if profile.for_gpu else max(working, largest)),
        data=counts.data(),
        jobs=len(counts.passes),
    )  # fmt: skip


class _Counts:
    """What a profile reads and fits; each method counts one part of it."""

    def __init__(self, profile: SpaceTimeProfile) -> None:
        self.profile, self.passes = profile, all_passes(profile)
        self.speed = GPU if profile.for_gpu else CPU
        self.draws = len(profile.seeds) if profile.resample < 1 else 1  # of other rows, by seeds
        names = [model.name for model in profile.models]
        self.sizes = {name: describe_on_meta(known_config(name)) for name in names}
        sets = (*profile.sets, profile.zip_set)
        whole = {n: SET_ROWS.get(n, SET_ROWS.get(entities.find(n).paper_set, 0)) for n in sets}
        self.rows = {name: min(n, profile.entities or n) for name, n in whole.items()}

    def reading(self, model: ModelSettings) -> Item:
        own = [one for one in self.passes if one.model == model]
        read = sum(self.rows[one.set] for one in own)
        size, rate = self.sizes[model.name], self.speed.read[model.dtype]
        parameters = size.n_layers * size.block_parameters  # neither embeddings nor the head
        why, tokens = f"{TOKENS} tokens", TOKENS * read
        if model.placement == "resident":
            drawn = sum(self.rows[one.set] for one in own if prompt(one.set, one.prompt).filler)
            tokens = OWN_TOKENS * read + FILLER_TOKENS * drawn
            why = f"{OWN_TOKENS} tokens, and {FILLER_TOKENS} more where they are drawn for each"
        return Item.hours(
            f"reading with {model.name}",
            2 * parameters * tokens / rate,
            f"2 · {parameters:,} parameters in blocks · {read:,} names · {why}, at "
            f"{rate / 1e12:g} TFLOP/s",
        )

    def probing(self, model: ModelSettings) -> Item:
        """Count the decomposition of every layer: the rest of a probe is small beside it."""
        read = []
        for one in self.passes:
            if one.model == model:
                read += [one.set] * (self.draws if one.untrained is None else 1)
        if model == self.profile.model:
            read += [self.profile.place_set] * self.draws  # rows not divided by their RMS
        share = (1 - TEST_SHARE) * self.profile.resample
        sets = [round(share * self.rows[name]) for name in read]
        size, k = self.sizes[model.name], self.profile.probe.lambdas
        d = size.d_model
        if self.profile.for_gpu and d > LARGE_D:
            flops = sum(2 * n * d**2 + k * (d**3 / 3 + n * d**2) for n in sets)
            formula = f"2 n d² + {k} (d³/3 + n d²)"
        else:
            e = self.speed.eigen
            flops = sum(4 * n * d * min(n, d) + e * min(n, d) ** 3 for n in sets)
            formula = f"4 n d m + {e} m³, m = min(n, d)"
        rate, states = self.speed.probe, size.n_layers + 1
        return Item.hours(
            f"probing {model.name}, all layers",
            states * flops / rate,
            f"{states} states · {formula}, d = {d:,}, n in all {sum(sets):,} training names of "
            f"{len(sets)} draws of rows, at {rate / 1e12:g} TFLOP/s in float64",
        )

    def streaming(self, model: ModelSettings) -> Item:
        times = sum(one.model == model for one in self.passes)
        weights = self.sizes[model.name].weight_bytes[model.dtype]
        return Item.hours(
            f"reading the weights of {model.name}",
            times * weights / DISK_BYTES,
            f"{times} passes · {weights / GIB:.1f} GiB at {DISK_BYTES / 1e9:g} GB/s",
        )

    def cheap(self) -> Item:
        """Count the fits to n-grams, beside which other cheap explanations are small."""
        sets = self.profile.sets
        chosen = self.draws * sum(self.rows[name] for name in sets)
        held = sum(self._held_out(name) * self.rows[name] for name in sets)
        names = (NGRAM_SEARCH + 1) * chosen + held
        return Item.hours(
            "cheap explanations",
            NGRAM_FIT * names,
            f"{names:,} names in fits to n-grams, to choose λ and to hold out blocks, at "
            f"{1 / NGRAM_FIT:,.0f} names a second",
        )

    def _held_out(self, name: str) -> int:
        """Return how many blocks and types of a set are held out, about."""
        paper_set = entities.find(name).paper_set
        blocks, types = len(BLOCKS[paper_set]), len(TYPES[paper_set] or range(NYC_TYPES))
        most = self.profile.holdout_blocks
        if self.profile.held_out == "paper":
            return blocks + types
        return (most if paper_set == "world_place" else min(most, blocks)) + min(most, types)

    def tables(self) -> Item:
        """Count the MLP of Table 2, and a factor for each block of Tables 3 and 4."""
        profile, probe = self.profile, self.profile.probe
        steps, flops, blocks = 0, 0.0, 0
        for model in profile.models:
            d = self.sizes[model.name].d_model
            for name in profile.table_sets:
                n, held = self.rows[name], self._held_out(name)
                batches = probe.mlp_epochs * -(-n // probe.mlp_batch)
                if (model, name) == (profile.model, profile.place_set):
                    batches *= 2  # the MLP also learns random places by heart
                steps += len(profile.seeds) * len(probe.mlp_weight_decays) * batches
                flops += 4 * n * d**2 + 2 * held * (d**3 / 3 + 2 * n * d)
                blocks += held
        return Item.hours(
            "Tables 2 to 4 of all models",
            steps * self.speed.mlp_step + flops / self.speed.probe,
            f"{steps:,} batches of the MLP, and 4 n d² + 2 (d³/3 + 2 n d) for each of {blocks} "
            "blocks and entity types held out",
        )

    def interventions(self) -> Item:
        """Count what is read beside the passes: pushed streams, and neurons pinned in float32."""
        model, settings = self.profile.resident_model, self.profile.steering
        pushes = (2 * self.draws + settings.random_directions) * len(settings.strengths)
        zeroed = settings.ablated_neurons + len(model.named_neurons)
        swept = settings.swept_works * (1 + len(model.named_neurons))
        pushed = settings.entities * pushes
        pinned = 2 * settings.contexts * zeroed * (2 + settings.matched_neurons)  # on two topics
        pinned += swept * (7 + 2 * settings.swept_controls)
        size, read = self.sizes[model.name], self.speed.read
        blocks = size.n_layers * size.block_parameters
        cut = KNOCKOUTS * round(TEST_SHARE * self.rows[self.profile.place_set])
        exact, own = TEXT_TOKENS * pinned, TEXT_TOKENS * pushed + TOKENS * cut
        return Item.hours(
            f"interventions in {model.name}",
            blocks * (own / read[model.dtype] + exact / read["float32"]),
            f"{pushed:,} texts of {TEXT_TOKENS} tokens and {cut:,} names of {TOKENS}, and "
            f"{pinned:,} texts in float32, through half of the blocks",
        )

    def neurons(self) -> Item:
        """Count the projections on three maps of each block, and on as many random directions."""
        model, settings = self.profile.resident_model, self.profile.neurons
        names = sum(min(self.rows[name], settings.entities) for name in self.profile.table_sets)
        searches = len(self.profile.seeds) * (1 + settings.random_draws)
        size, rate = self.sizes[model.name], self.speed.search
        flops = searches * 2 * size.n_layers * size.block_parameters * names * 0.7
        return Item.hours(
            f"the neuron search in {model.name}",
            flops / rate,
            f"{searches} searches that project {names:,} names on all weights of the MLPs and rank "
            f"them, at {rate / 1e12:g} TFLOP/s in float32",
        )

    def memory(self, model: ModelSettings) -> Iterator[Item]:
        """Count what is held while a model is read and probed; a sum that is never exceeded."""
        size, batch = self.sizes[model.name], self.profile.batch_tokens
        largest, width, d = max(self.rows.values()), _width(model), size.d_model
        what = f"weights of {model.name} in memory"
        if model.placement == "resident":
            # Neurons are pinned in float32, whatever the model is read in.
            pinned = model == self.profile.resident_model
            kind = model.quantization or ("float32" if pinned else model.dtype)
            why = f"{size.parameters:,} parameters in {kind}"
            yield Item.gib(what, size.weight_bytes[kind], why)
            # Each block keeps those of a batch; a shared prefix is repeated for each of its names.
            yield Item.product(
                f"keys and values of one batch in {model.name}", kinds=2, blocks=size.n_layers,
                names=batch // FEWEST_OWN_TOKENS,
                tokens_with_the_shared_ones=SHARED_TOKENS + FEWEST_OWN_TOKENS,
                units_of_width=_key_width(model.name, d), bytes=width,
            )  # fmt: skip
        else:
            outside = size.parameters - size.n_layers * size.block_parameters
            held = 2 * size.block_parameters + outside
            why = f"two blocks and what is outside of them: {held:,} parameters in {model.dtype}"
            yield Item.gib(what, held * width, why)
            yield Item.product(
                f"hidden states of {model.name}", names_of_the_largest_set=largest,
                tokens=TOKENS, units_of_width=d, bytes=width,
            )  # fmt: skip
        yield Item.gib(
            f"one batch in {model.name}",
            BATCH_WIDTHS * batch * d * width,
            f"{batch:,} tokens · {BATCH_WIDTHS} · {d:,} · {width} bytes: the residual stream and "
            "three maps of the MLP's inner width",
        )
        yield Item.gib(
            f"probe of one layer of {model.name}",
            (5 * largest * d + 3 * d**2) * 8,
            f"5 copies of [{largest:,}, {d:,}] and 3 of [{d:,}, {d:,}] in float64",
        )

    def untrained(self) -> Item:
        name = self.profile.resident_model.name
        size = self.sizes[name]
        why = f"{size.parameters:,} parameters, drawn in float32 on the CPU"
        return Item.gib(f"untrained control of {name}", size.weight_bytes["float32"], why)

    def gathered(self) -> Item:
        """Count the largest pass of a resident model, whose layers wait for their probes."""
        passes = [
            Item.product(
                f"all layers of {one.set} in {one.model.name}",
                states=self.sizes[one.model.name].n_layers + 1,
                names=self.rows[one.set],
                units_of_width=self.sizes[one.model.name].d_model,
                bytes=_width(one.model),
            )
            for one in self.passes
            if one.model.placement == "resident"
        ]
        return max(passes, key=lambda item: item.value)

    def stored(self) -> Item:
        """Count the layers that stay on disk; see :func:`okml.space_time.arms.layers_kept`."""
        width = STORED_BYTES[self.profile.activation_dtype]
        total, layers = 0, 0
        for one in self.passes:
            size = self.sizes[one.model.name]
            kept = layers_kept(self.profile, one, size.n_layers)
            # The chosen one, or that of the paper's question, may be among the others.
            others = kept.chosen + len(needs(self.profile, one))
            count = min(len(kept.layers) + others, size.n_layers + 1)
            total += count * self.rows[one.set] * size.d_model * width
            layers += count
        why = "all layers" if self.profile.keep_activations else "layers that a later step reads"
        why += f": {layers} layers of {len(self.passes)} passes, each names · width · {width} bytes"
        return Item.gib("activations on disk", total, why)

    def data(self) -> list[str]:
        """Return the entries of the catalog that a run fetches."""
        profile = self.profile
        sets = [entities.find(name).data[0] for name in (*profile.sets, profile.zip_set)]
        vectors = [] if profile.word_vectors is None else [profile.word_vectors]
        models = [model.name for model in profile.models]
        outline = "world_outline"  # the page draws its maps on it
        return [*sets, wordnet.DATA[0], *vectors, *models, outline]

    def downloads(self) -> Item:
        """Count the catalog's sizes, and the float32 copy that is made of a model in GGUF form."""
        sizes = {}
        for name in self.data():
            known = catalog().get(name)
            sizes[name] = (known.bytes or 0) if known else 0
            if known and known.kind == "model" and known.snapshot is None:
                sizes[name] += self.sizes[name].weight_bytes["float32"]
        why = "sizes in the catalog, with the float32 copy of a GGUF file: "
        why += ", ".join(f"{name} {size / GIB:.1f}" for name, size in sizes.items())
        what = "data and model weights on disk"
        return Item.gib(what, sum(sizes.values()), why, in_data_folder=True)


def _width(model: ModelSettings) -> int:
    """Return the bytes of a value of the residual stream."""
    return 4 if model.dtype == "float32" else 2


def _key_width(name: str, d_model: int) -> int:
    """Return the width of a token's keys in one block; heads may share them."""
    known = known_config(name)
    if isinstance(known, str):
        return d_model
    heads = known["num_attention_heads"]
    return int(d_model * known.get("num_key_value_heads", heads) // heads)
