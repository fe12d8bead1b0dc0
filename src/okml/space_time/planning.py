"""What a run of the chapter takes, from the sizes of its models and sets alone."""

from __future__ import annotations

from collections.abc import Mapping

from okml.data import catalog
from okml.plan import Item, Plan
from okml.runtime import GIB
from okml.space_time import entities
from okml.space_time.arms import all_passes, probed_in_full, prompts_read
from okml.space_time.config import ModelSettings, SpaceTimeProfile
from okml.space_time.model_sizes import ModelSize, describe_on_meta, known_config
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
PROCESS_GIB = 2.0  # interpreter, torch, frames

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
    held = [_held(profile, model, sizes[model.name], rows) for model in profile.models]
    working = max((sum(item.value for item in items) for items in held), default=0.0)
    drawn = _untrained(profile.resident_model, sizes[profile.resident_model.name])
    carried = _carried(profile, sizes[profile.model.name], rows)
    stored = _stored(profile, sizes[profile.model.name], rows)
    downloads = _downloads(profile, sizes)
    beside = max(drawn.value, carried.value)
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
    on_gpu = profile.budget.gpu_memory_gib > 0
    rate = GPU_FLOPS if on_gpu else CPU_FLOPS[model.dtype]
    return Item(
        what=f"reading with {model.name}",
        value=2 * parameters * read * tokens / rate / 3600,
        unit="h",
        follows_from=f"2 · {parameters:,} parameters in blocks · {read:,} names · {tokens} tokens "
        f"at {rate / 1e12:g} TFLOP/s",
    )


def _probing(profile: SpaceTimeProfile, model: ModelSettings, size: ModelSize, rows: Rows) -> Item:
    """Count the decomposition of every layer: the rest of a probe is small beside it."""
    sets = [rows[one.set] for one in probed_in_full(profile) if one.model == model]
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
    inner = 8 * profile.batch_tokens * size.d_model * width / GIB
    largest = max(rows.values())
    items = [
        Item(
            what=f"one batch in {model.name}",
            value=inner,
            unit="GiB",
            follows_from=f"{profile.batch_tokens:,} tokens · 8 · {size.d_model:,} · {width} bytes: "
            "the residual stream and the MLP's inner width",
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


def _stored(profile: SpaceTimeProfile, size: ModelSize, rows: Rows) -> Item:
    if profile.keep_activations:
        kept = sum(rows[one.set] for one in all_passes(profile))
        why = "all sets and prompts"
    else:
        kept, why = max(rows.values()), "one set under one prompt"
    width = STORED_BYTES[profile.activation_dtype]
    return Item(
        what="activations on disk",
        value=(size.n_layers + 1) * kept * size.d_model * width / GIB,
        unit="GiB",
        follows_from=f"{why}: {size.n_layers + 1} states · {kept:,} names · {size.d_model:,} · "
        f"{width} bytes",
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
