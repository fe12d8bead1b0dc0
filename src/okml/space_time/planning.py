"""What a run of the chapter takes, from the sizes of its models and sets alone."""

from __future__ import annotations

from collections.abc import Mapping

from okml.data import catalog
from okml.plan import Item, Plan
from okml.runtime import GIB
from okml.space_time import entities
from okml.space_time.arms import all_passes, layers_kept, needs, prompts_read
from okml.space_time.config import ModelSettings, SpaceTimeProfile
from okml.space_time.model_sizes import ModelSize, describe_on_meta, known_config
from okml.space_time.paper import BLOCKS, TYPES
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
}
TOKENS = 14  # of an entity under a prompt, with the document start: the mean over the paper's sets
OWN_TOKENS = 7  # of them after the prompt, which a resident model reads once for all entities
# Sustained floating-point operations a second that the hours assume.
GPU_FLOPS = 400e12  # one H100 in bfloat16, dense matrix products
GPU_PROBE_FLOPS = 30e12  # the same in float64, for the probes
CPU_FLOPS = {"float32": 0.25e12, "bfloat16": 0.7e12, "float16": 0.25e12}  # two cores, SmolLM2
CPU_PROBE_FLOPS = 0.04e12  # two cores in float64
DISK_BYTES = 2e9  # read a second, when a model is read block by block
STORED_BYTES = {"float16": 2, "float32": 4}
BATCH_WIDTHS = 15  # values held for a token of a batch, in widths of the residual stream
PROCESS_GIB = 2.0  # interpreter, torch, frames
MLP_STEP_GPU, MLP_STEP_CPU = 1e-3, 5e-3  # seconds of a batch of 512 through the MLP probe
PROJECTION_FLOPS_GPU = 20e12  # products and ranks of the neuron search, in float32
NYC_TYPES = tuple(range(13))  # facility types of the released file

Rows = Mapping[str, int]


def plan(profile: SpaceTimeProfile) -> Plan:
    """Return parameters, memory, disk, data and hours of a run, with the arithmetic shown."""
    sizes = {model.name: _size(model) for model in profile.models}
    rows = {name: _rows(profile, name) for name in profile.sets}
    on_gpu = profile.budget.gpu_memory_gib > 0

    time: list[Item] = []
    for model in profile.models:
        size = sizes[model.name]
        time += [_forward(profile, model, size, rows), _probing(profile, model, size, rows)]
        if model.placement == "layerwise":
            time.append(_streaming(profile, model, size))
    time.append(_tables(profile, sizes, rows))
    time.append(_interventions(profile, sizes[profile.resident_model.name], rows))
    held = [_held(profile, model, sizes[model.name], rows) for model in profile.models]
    working = max((sum(item.value for item in items) for items in held), default=0.0)
    drawn = _untrained(profile.resident_model, sizes[profile.resident_model.name])
    carried = _carried(profile, sizes[profile.model.name], rows)
    gathered = _gathered(profile, sizes, rows)
    stored = _stored(profile, sizes, rows)
    downloads = _downloads(profile, sizes)
    beside = max(drawn.value, carried.value, gathered.value)
    return Plan(
        chapter=profile.chapter,
        profile=profile.name,
        gpu_memory_gib=working if on_gpu else 0.0,
        memory_gib=PROCESS_GIB + (beside if on_gpu else max(working, beside)),
        disk_gib=stored.value + downloads.value,
        hours=sum(item.value for item in time),
        items=(
            *(_parameters(name, size) for name, size in sizes.items()),
            *time,
            *(item for items in held for item in items),
            drawn,
            carried,
            gathered,
            stored,
            downloads,
        ),
        data=tuple(_data(profile)),
    )


def _size(model: ModelSettings) -> ModelSize:
    return describe_on_meta(known_config(model.name))


def _rows(profile: SpaceTimeProfile, name: str) -> int:
    whole = SET_ROWS.get(name, SET_ROWS.get(entities.find(name).paper_set, 0))
    return whole if profile.entities is None else min(whole, profile.entities)


def _data(profile: SpaceTimeProfile) -> list[str]:
    """Return the entries of the catalog that a run fetches, each once."""
    sets = [entities.find(name).data[0] for name in (*profile.sets, profile.zip_set)]
    vectors = [] if profile.word_vectors is None else [profile.word_vectors]
    return list(dict.fromkeys([*sets, *vectors, *(model.name for model in profile.models)]))


def _parameters(name: str, size: ModelSize) -> Item:
    return Item(
        what=f"parameters of {name}",
        value=size.parameters,
        unit="",
        follows_from=f"{size.n_layers} blocks of width {size.d_model}, counted on the meta device",
    )


def _forward(profile: SpaceTimeProfile, model: ModelSettings, size: ModelSize, rows: Rows) -> Item:
    read = sum(rows[one.set] for one in all_passes(profile) if one.model == model)
    parameters = size.n_layers * size.block_parameters  # embeddings are looked up, the head not run
    tokens = OWN_TOKENS if model.placement == "resident" else TOKENS
    rate = _rate(profile, model)
    return Item(
        what=f"reading with {model.name}",
        value=2 * parameters * read * tokens / rate / 3600,
        unit="h",
        follows_from=f"2 · {parameters:,} parameters in blocks · {read:,} names · {tokens} tokens "
        f"at {rate / 1e12:g} TFLOP/s",
    )


def _rate(profile: SpaceTimeProfile, model: ModelSettings) -> float:
    return GPU_FLOPS if profile.budget.gpu_memory_gib > 0 else CPU_FLOPS[model.dtype]


def _probing(profile: SpaceTimeProfile, model: ModelSettings, size: ModelSize, rows: Rows) -> Item:
    """Count the decomposition of every layer: the rest of a probe is small beside it."""
    sets = [rows[one.set] for one in all_passes(profile) if one.model == model]
    if model == profile.model:
        sets.append(rows[profile.place_set])  # rows that are not divided by their RMS
    seeds = len(profile.seeds) if profile.resample < 1 else 1
    d, on_gpu = size.d_model, profile.budget.gpu_memory_gib > 0
    k = profile.probe.lambdas
    if on_gpu and d > LARGE_D:
        flops = sum(2 * n * d**2 + k * (d**3 / 3 + n * d**2) for n in sets)
        formula = f"2 n d² + {k} (d³/3 + n d²)"
    else:
        flops = sum(4 * n * d * min(n, d) + 22 * min(n, d) ** 3 for n in sets)
        formula = "4 n d m + 22 m³, m = min(n, d)"
    rate = GPU_PROBE_FLOPS if on_gpu else CPU_PROBE_FLOPS
    return Item(
        what=f"probing {model.name}, all layers",
        value=seeds * (size.n_layers + 1) * flops / rate / 3600,
        unit="h",
        follows_from=f"{seeds} seeds · {size.n_layers + 1} states · {formula}, d = {d:,}, over "
        f"{len(sets)} passes of {sum(sets):,} names, at {rate / 1e12:g} TFLOP/s in float64",
    )


def _tables(profile: SpaceTimeProfile, sizes: Mapping[str, ModelSize], rows: Rows) -> Item:
    """Count the MLP of Table 2, and the hold-outs of Tables 3 and 4: a factor for each block."""
    on_gpu = profile.budget.gpu_memory_gib > 0
    seeds = len(profile.seeds) if profile.resample < 1 else 1
    seconds, fits, blocks = 0.0, 0, 0
    for model in profile.models:
        d = sizes[model.name].d_model
        for name in profile.table_sets:
            n, probe = rows[name], profile.probe
            batches = probe.mlp_epochs * -(-n // probe.mlp_batch)
            trained = seeds * len(probe.mlp_weight_decays) * batches
            seconds += trained * (MLP_STEP_GPU if on_gpu else MLP_STEP_CPU)
            held = _held_out(profile, name)
            flops = 4 * n * d**2 + 2 * held * (d**3 / 3 + 2 * n * d)
            seconds += flops / (GPU_PROBE_FLOPS if on_gpu else CPU_PROBE_FLOPS)
            fits, blocks = fits + trained, blocks + held
    return Item(
        what="Tables 2 to 4 of all models",
        value=seconds / 3600,
        unit="h",
        follows_from=f"{fits:,} batches of the MLP, and 4 n d² + 2 (d³/3 + 2 n d) for each of "
        f"{blocks} blocks and entity types held out",
    )


def _held_out(profile: SpaceTimeProfile, name: str) -> int:
    """Return how many blocks and types of a set are held out, at most."""
    if profile.held_out == "frequent":
        return 2 * profile.holdout_blocks
    paper_set = entities.find(name).paper_set
    return len(BLOCKS[paper_set]) + len(TYPES[paper_set] or NYC_TYPES)


def _interventions(profile: SpaceTimeProfile, size: ModelSize, rows: Rows) -> Item:
    """Count what is read beside the passes: pushed and pinned streams, and the neuron search."""
    model, settings = profile.resident_model, profile.steering
    seeds = len(profile.seeds) if profile.resample < 1 else 1
    pushes = (seeds + settings.random_directions) * len(settings.strengths)
    zeroed = settings.ablated_neurons + len(model.named_neurons)
    dated = 1 + len(model.named_neurons)
    read = (
        settings.entities * pushes
        + settings.contexts * zeroed * (1 + settings.matched_neurons)
        + settings.swept_works * dated * (7 + 2 * settings.swept_controls)
    )
    forward = 2 * size.n_layers * size.block_parameters * read * TOKENS / _rate(profile, model)
    names = sum(min(rows[name], profile.neurons.entities) for name in profile.table_sets)
    # Three maps of a block, for the neurons and for as many random directions.
    projected = 2 * seeds * 2 * size.n_layers * size.block_parameters * names * 0.7
    search = projected / (PROJECTION_FLOPS_GPU if profile.budget.gpu_memory_gib else 0.05e12)
    return Item(
        what=f"interventions and neurons in {model.name}",
        value=(forward + search) / 3600,
        unit="h",
        follows_from=f"{read:,} texts of {TOKENS} tokens through all blocks, and {names:,} names "
        "projected on all weights of the MLPs and ranked, at float32",
    )


def _streaming(profile: SpaceTimeProfile, model: ModelSettings, size: ModelSize) -> Item:
    times = sum(one.model == model for one in all_passes(profile))
    weights = size.weight_bytes[model.dtype]
    return Item(
        what=f"reading the weights of {model.name}",
        value=times * weights / DISK_BYTES / 3600,
        unit="h",
        follows_from=f"{times} passes · {weights / GIB:.1f} GiB at {DISK_BYTES / 1e9:g} GB/s",
    )


def _held(
    profile: SpaceTimeProfile, model: ModelSettings, size: ModelSize, rows: Rows
) -> list[Item]:
    """Return what is in memory while a model is read and probed; a sum that is never exceeded."""
    width = 4 if model.dtype == "float32" else 2
    inner = BATCH_WIDTHS * profile.batch_tokens * size.d_model * width / GIB
    largest = max(rows.values())
    items = [
        Item(
            what=f"one batch in {model.name}",
            value=inner,
            unit="GiB",
            follows_from=f"{profile.batch_tokens:,} tokens · {BATCH_WIDTHS} · {size.d_model:,} · "
            f"{width} bytes: the residual stream and three maps of the MLP's inner width",
        ),
        _probe_memory(model, size, largest),
    ]
    if model.placement == "resident":
        kind = model.quantization or model.dtype
        weights, why = size.weight_bytes[kind] / GIB, f"{size.parameters:,} parameters in {kind}"
        return [_weights(model, weights, why), *items]
    outside = size.parameters - size.n_layers * size.block_parameters
    parameters = 2 * size.block_parameters + outside
    why = f"two blocks and what is outside of them: {parameters:,} parameters in {model.dtype}"
    tokens = largest * TOKENS
    hidden = Item(
        what=f"hidden states of {model.name}",
        value=tokens * size.d_model * width / GIB,
        unit="GiB",
        follows_from=f"all {largest:,} names of the largest set: {tokens:,} tokens · "
        f"{size.d_model:,} · {width} bytes",
    )
    return [_weights(model, parameters * width / GIB, why), hidden, *items]


def _weights(model: ModelSettings, gib: float, why: str) -> Item:
    return Item(what=f"weights of {model.name} in memory", value=gib, unit="GiB", follows_from=why)


def _probe_memory(model: ModelSettings, size: ModelSize, largest: int) -> Item:
    n, d = largest, size.d_model
    return Item(
        what=f"probe of one layer of {model.name}",
        value=(5 * n * d + 3 * d**2) * 8 / GIB,
        unit="GiB",
        follows_from=f"5 copies of [{n:,}, {d:,}] and 3 of [{d:,}, {d:,}] in float64",
    )


def _untrained(model: ModelSettings, size: ModelSize) -> Item:
    return Item(
        what=f"untrained control of {model.name}",
        value=size.weight_bytes["float32"] / GIB,
        unit="GiB",
        follows_from=f"{size.parameters:,} parameters, drawn in float32 on the CPU",
    )


def _carried(profile: SpaceTimeProfile, size: ModelSize, rows: Rows) -> Item:
    """Return one layer's states under all prompts, which the transfer between prompts compares."""
    variants, n = len(prompts_read(profile, profile.place_set)), rows[profile.place_set]
    return Item(
        what="states carried between prompts",
        value=variants * n * size.d_model * 4 / GIB,
        unit="GiB",
        follows_from=f"{variants} prompts · {n:,} names · {size.d_model:,} · 4 bytes",
    )


def _gathered(profile: SpaceTimeProfile, sizes: Mapping[str, ModelSize], rows: Rows) -> Item:
    """Return the largest pass of a resident model: all layers wait in memory for their probes."""
    found = [
        ((size.n_layers + 1) * rows[one.set] * size.d_model * width / GIB, one, size, width)
        for one in all_passes(profile)
        if one.model.placement == "resident"
        for size in [sizes[one.model.name]]
        for width in [4 if one.model.dtype == "float32" else 2]
    ]
    value, one, size, width = max(found, key=lambda item: item[0])
    return Item(
        what=f"all layers of {one.set} in {one.model.name}",
        value=value,
        unit="GiB",
        follows_from=f"{size.n_layers + 1} states · {rows[one.set]:,} names · {size.d_model:,} · "
        f"{width} bytes",
    )


def _stored(profile: SpaceTimeProfile, sizes: Mapping[str, ModelSize], rows: Rows) -> Item:
    """Count the layers that stay on disk; see :func:`okml.space_time.arms.layers_kept`."""
    width = STORED_BYTES[profile.activation_dtype]
    total, layers = 0, 0
    for one in all_passes(profile):
        size = sizes[one.model.name]
        kept = layers_kept(profile, one, size.n_layers)
        # The chosen one, or that of the paper's question, may be among the others.
        count = min(len(kept.layers) + kept.chosen + len(needs(profile, one)), size.n_layers + 1)
        total += count * rows[one.set] * size.d_model * width
        layers += count
    why = "all layers" if profile.keep_activations else "layers that a later step reads"
    return Item(
        what="activations on disk",
        value=total / GIB,
        unit="GiB",
        follows_from=f"{why}: {layers} layers of {len(all_passes(profile))} passes, each "
        f"names · width · {width} bytes",
    )


def _downloads(profile: SpaceTimeProfile, sizes: Mapping[str, ModelSize]) -> Item:
    """Count the catalog's sizes, and the float32 copy that is made of a model in GGUF form."""
    total, parts = 0, []
    for name in _data(profile):
        known = catalog().get(name)
        size = (known.bytes or 0) if known else 0
        if known and known.kind == "model" and known.snapshot is None:
            size += sizes[name].weight_bytes["float32"]
        total += size
        parts.append(f"{name} {size / GIB:.1f}")
    return Item(
        what="data and model weights on disk",
        value=total / GIB,
        unit="GiB",
        follows_from="sizes in the catalog, with the float32 copy of a GGUF file: "
        + ", ".join(parts),
        in_data_folder=True,
    )
