"""What a run of the chapter takes, from the sizes of its models and sets alone."""

from __future__ import annotations

from okml.plan import Item, Plan
from okml.runtime import GIB
from okml.space_time import entities, prompts
from okml.space_time.config import ModelSettings, SpaceTimeProfile
from okml.space_time.model_sizes import ModelSize, describe_on_meta, known_config

# Rows of each set: the paper's Table 1, and the packaged stand-ins.
SET_ROWS = {
    "world_place": 39_585,
    "us_place": 29_997,
    "nyc_place": 19_838,
    "historical_figure": 37_539,
    "art": 31_321,
    "headline": 28_389,
    "cities": 3_000,
    "people": 2_500,
    "films": 17_000,
}
TOKENS = 14  # of an entity under a prompt, with the document start: the mean over the paper's sets
# Sustained floating-point operations a second that the hours assume.
GPU_FLOPS = 400e12  # one H100 in bfloat16, dense matrix products
GPU_PROBE_FLOPS = 30e12  # the same in float64, for the probes
CPU_FLOPS = {"float32": 0.25e12, "bfloat16": 0.7e12, "float16": 0.25e12}  # two cores, SmolLM2
CPU_PROBE_FLOPS = 0.04e12  # two cores in float64
STORED_BYTES = {"float16": 2, "float32": 4}


def plan(profile: SpaceTimeProfile) -> Plan:
    """Return parameters, memory, disk, data and hours of a run, with the arithmetic shown."""
    sizes = {model.name: _size(model) for model in profile.models}
    on_gpu = profile.budget.gpu_memory_gib > 0
    rows = {name: _rows(profile, name) for name in profile.sets}
    readings = _readings(profile, rows)  # entities read by the main model, over all prompts
    largest = max(rows.values())

    items = [
        Item(
            what=f"parameters of {model.name}",
            value=sizes[model.name].parameters,
            unit="",
            follows_from=f"{sizes[model.name].n_layers} blocks of width "
            f"{sizes[model.name].d_model}, counted on the meta device",
        )
        for model in profile.models
    ]
    hours = 0.0
    for model in profile.models:
        read = readings if model == profile.model else sum(rows.values())
        forward = _forward_hours(model, sizes[model.name], read, on_gpu)
        probing = _probe_hours(sizes[model.name], read, len(profile.seeds), on_gpu)
        items += [forward, probing]
        hours += forward.value + probing.value

    weights = max((_held(model, sizes[model.name]) for model in profile.models), key=_value)
    hidden = _hidden_states(profile, sizes[profile.model.name], largest)
    probe = _probe_memory(sizes[profile.model.name], largest)
    stored = _stored(profile, sizes[profile.model.name], readings, largest)
    downloads = _downloads(profile, sizes)
    items += [weights, hidden, probe, stored, downloads]
    held = max(weights.value + hidden.value, probe.value)
    return Plan(
        chapter=profile.chapter,
        profile=profile.name,
        gpu_memory_gib=held if on_gpu else 0.0,
        memory_gib=probe.value + 2.0 if on_gpu else held + 1.0,  # interpreter, torch, frames
        disk_gib=stored.value + downloads.value,
        hours=hours,
        items=tuple(items),
        data=(*profile.sets, *(model.name for model in profile.models)),
    )


def _value(item: Item) -> float:
    return item.value


def _size(model: ModelSettings) -> ModelSize:
    return describe_on_meta(known_config(model.name))


def _rows(profile: SpaceTimeProfile, name: str) -> int:
    whole = SET_ROWS.get(name, SET_ROWS.get(entities.find(name).paper_set, 0))
    return whole if profile.entities is None else min(whole, profile.entities)


def _readings(profile: SpaceTimeProfile, rows: dict[str, int]) -> int:
    """Count entities times prompts, plus the untrained control on the main place set."""
    read = sum(rows.values())
    for name in profile.prompt_sets:
        variants = prompts.prompts_of(name) if profile.prompts is None else profile.prompts
        read += rows[name] * (len(variants) - (profile.prompts is None))
    return read + rows[profile.place_set]


def _forward_hours(model: ModelSettings, size: ModelSize, read: int, on_gpu: bool) -> Item:
    flops = 2 * size.parameters * read * TOKENS
    rate = GPU_FLOPS if on_gpu else CPU_FLOPS[model.dtype]
    return Item(
        what=f"reading with {model.name}",
        value=flops / rate / 3600,
        unit="h",
        follows_from=f"2 · {size.parameters:,} parameters · {read:,} names · {TOKENS} tokens at "
        f"{rate / 1e12:g} TFLOP/s",
    )


def _probe_hours(size: ModelSize, read: int, seeds: int, on_gpu: bool) -> Item:
    d = size.d_model
    gram, factor = 2 * read * d**2, 22 * d**3
    flops = seeds * size.n_layers * (gram + factor)
    rate = GPU_PROBE_FLOPS if on_gpu else CPU_PROBE_FLOPS
    return Item(
        what=f"probing a model of width {d}, all layers",
        value=flops / rate / 3600,
        unit="h",
        follows_from=f"{seeds} seeds · {size.n_layers} layers · (2 n d² + 22 d³), n = {read:,}, "
        f"d = {d:,}, at {rate / 1e12:g} TFLOP/s in float64",
    )


def _held(model: ModelSettings, size: ModelSize) -> Item:
    kind = model.quantization or model.dtype
    if model.placement == "layerwise":
        per_value = size.weight_bytes[model.dtype] / size.parameters
        return Item(
            what=f"weights of {model.name} held at a time",
            value=2 * size.block_parameters * per_value / GIB,
            unit="GiB",
            follows_from=f"two blocks of {size.block_parameters:,} parameters in {kind}",
        )
    return Item(
        what=f"weights of {model.name}",
        value=size.weight_bytes[kind] / GIB,
        unit="GiB",
        follows_from=f"{size.parameters:,} parameters in {kind}",
    )


def _hidden_states(profile: SpaceTimeProfile, size: ModelSize, largest: int) -> Item:
    width = 4 if profile.model.dtype == "float32" else 2
    if profile.model.placement == "layerwise":
        tokens, why = largest * TOKENS, f"all {largest:,} names of the largest set"
    else:
        tokens, why = 8 * profile.batch_tokens, "one batch, with the MLP's inner width"
    return Item(
        what="hidden states held at a time",
        value=tokens * size.d_model * width / GIB,
        unit="GiB",
        follows_from=f"{why}: {tokens:,} tokens · {size.d_model:,} · {width} bytes",
    )


def _probe_memory(size: ModelSize, largest: int) -> Item:
    value = (3 * largest * size.d_model + 3 * size.d_model**2) * 8 / GIB
    return Item(
        what="probe of one layer",
        value=value,
        unit="GiB",
        follows_from=f"three copies of [{largest:,}, {size.d_model:,}] and of the Gram matrix in "
        "float64",
    )


def _stored(profile: SpaceTimeProfile, size: ModelSize, readings: int, largest: int) -> Item:
    kept = readings if profile.keep_activations else largest
    width = STORED_BYTES[profile.activation_dtype]
    why = "all sets and prompts" if profile.keep_activations else "one set under one prompt"
    return Item(
        what="activations on disk",
        value=(size.n_layers + 1) * kept * size.d_model * width / GIB,
        unit="GiB",
        follows_from=f"{why}: {size.n_layers + 1} states · {kept:,} names · {size.d_model:,} · "
        f"{width} bytes",
    )


def _downloads(profile: SpaceTimeProfile, sizes: dict[str, ModelSize]) -> Item:
    """Weights as they are published: 16 bits a parameter, or the 4-bit GGUF and its copy."""
    total = sum(size.weight_bytes["float16"] for size in sizes.values())
    return Item(
        what="model weights on disk",
        value=total / GIB,
        unit="GiB",
        follows_from="16 bits a parameter over " + ", ".join(sizes),
    )
