"""The resources of a run of the chapter, computed from sizes and counts."""

from __future__ import annotations

from dataclasses import dataclass

from okml.data import catalog
from okml.lightsage.arms import FEW_TREATMENTS, SCARCE, TREATMENTS, WITH_IDS
from okml.lightsage.graph.ablation import GRAPHS
from okml.lightsage.network.encoder import VARIANTS
from okml.lightsage.settings import DataName, LightsageProfile, TaskSettings
from okml.lightsage.training.trainer import Hyperparameters
from okml.plan import Item, Plan, reading
from okml.runtime import GIB


@dataclass(frozen=True)
class Size:
    """The size of a shop's data.

    Attributes:
        items: Number of items N.
        events: Number of training events.
        features: Number of features F.
        exact: Whether the numbers are counted; otherwise they are published, or upper bounds.
    """

    items: int
    events: int
    features: int
    exact: bool = True


SIZES: dict[DataName, Size] = {
    "movielens": Size(1_682, 55_375, 92),
    "diginetica": Size(43_105, 993_483, 64),
    # 36 M events, mostly page views without a product; 66 thousand products.
    "coveo": Size(66_386, 15_000_000, 145, exact=False),
}
CATALOG = {"movielens": "ml_100k", "diginetica": "ader_diginetica"}
COVEO_GIB = 1.9  # three files that come by a form

# Seconds of a training step of each kind. CPU: measured on two idle cores at the sizes of the
# profile `cpu`. GPU: tables and graph lie on the card, so a step is the loop's own time, the passes
# over its score matrices at the card's rate, and the random numbers of sampled neighbors, which are
# drawn on the CPU (measured) and copied.
CPU_STEP, CPU_SAMPLED_STEP = 0.008, 0.03
STEP_OVERHEAD, SCORE_PASSES = 0.004, 12
DRAW_SECONDS = 4e-9  # a random number
GPU_BYTES = 1e12  # a second, read or written, half of what an H100's memory moves
CPU_BYTES = 2e10  # a second, of LightGCN's sums over neighbors on one core, measured
EVENTS_PER_SECOND = 150_000.0  # of a log that become a graph, Swing's edges included
RANKED_PER_SECOND = 3e8  # scores compared on the CPU; a card compares GPU_BYTES / 32
KEPT = 4  # trained networks whose vectors stay in memory
PAIRS = 5_000  # of a test
PROCESS_GIB = 1.6  # interpreter, torch, faiss, frames
EVENT_BYTES = 260  # while a log is read, cleaned and joined


def plan(profile: LightsageProfile) -> Plan:
    """Return memory, disk, data and hours of a run, with their derivation."""
    shops = [profile.data, profile.scarce_search, *profile.real]
    hours = [_trainings(profile, data) for data in shops]
    hours += [_lightgcn_hours(profile), _graphs(profile), _ranking(profile)]
    events = max(size_of(data).events for data in (profile.data, *profile.real))
    loading = reading(events, EVENT_BYTES)
    graphs, tables = _graph_frames(profile), _tables(profile)
    logits, messages, indices = _logits(profile), _lightgcn_memory(profile), _indices(profile)
    device = tables.value + max(logits.value, messages.value)  # one training at a time
    disk = [_features_on_disk(profile), _downloads(profile), _checkpoints(profile)]
    on_gpu = profile.budget.gpu_memory_gib > 0
    return Plan(
        chapter=profile.chapter,
        profile=profile.name,
        gpu_memory_gib=1.0 + device if on_gpu else 0.0,  # 1 GiB: the driver's context
        memory_gib=PROCESS_GIB
        + loading.value
        + graphs.value
        + indices.value
        + (0.0 if on_gpu else device),
        disk_gib=sum(item.value for item in disk),
        hours=sum(item.value for item in hours),
        items=(
            *(_size(data) for data in shops),
            *hours,
            loading,
            graphs,
            tables,
            logits,
            messages,
            indices,
            *disk,
        ),
        data=tuple(
            dict.fromkeys(
                CATALOG.get(data.name, data.name) for data in shops if data.name != "synthetic"
            )
        ),
    )


def size_of(data: TaskSettings) -> Size:
    """Return the size of a shop; a synthetic one's follows from its settings."""
    if data.name != "synthetic":
        return SIZES[data.name]
    shop = data.shop
    share = shop.train_days / shop.days
    # A visit has 1 + mean_extra_steps steps; an account of a ring clicks a share of its items.
    rings = shop.rings * shop.ring_accounts * shop.ring_items * shop.ring_share
    events = share * (shop.sessions * (1 + shop.mean_extra_steps) + rings)
    return Size(shop.items, round(events), shop.features)


def _size(data: TaskSettings) -> Item:
    size = size_of(data)
    return Item(
        what=f"events of {data.name}",
        value=size.events,
        unit="rows" if size.exact else "rows, an estimate",
        follows_from=f"{size.items:,} items, {size.features} features each",
    )


def _counts(profile: LightsageProfile, data: TaskSettings) -> tuple[int, int]:
    """Return the numbers of one-hop and of sampled trainings on a shop, per seed."""
    if data == profile.scarce_search:
        return len(SCARCE), 0
    if data != profile.data:
        return 1, 1 + _deep(data)  # features alone, and with item vectors
    sampled = sum(VARIANTS[name].sampled for name in profile.variants)
    tail = {
        (row.pooled, row.hidden)
        for row in (FEW_TREATMENTS if profile.tail_rows == "few" else TREATMENTS)
    }
    plain = len(profile.graphs) + len(profile.variants) - sampled - 1  # V0 is the main graph's
    plain += len(tail) - 1 + len(profile.losses) + 1  # one with the predicted edge in the graph
    return plain, sampled + _deep(data)


def _deep(data: TaskSettings) -> int:
    """Return the number of baselines that sample neighborhoods."""
    return sum(name in ("graphsage", "pinsage") for name in data.baselines)


def _step_seconds(
    profile: LightsageProfile, recipe: Hyperparameters, data: TaskSettings, sampled: bool
) -> tuple[float, str]:
    if not profile.budget.gpu_memory_gib:
        seconds = CPU_SAMPLED_STEP if sampled else CPU_STEP
        return seconds, f"{1e3 * seconds:.0f} ms a step"
    scores = SCORE_PASSES * _score_bytes(profile) / GPU_BYTES
    seconds, why = STEP_OVERHEAD + scores, f"{SCORE_PASSES} passes over the scores"
    if sampled:
        size, first = size_of(data), 2 * recipe.batch + profile.negatives.count
        second = min(size.items, first * (1 + profile.fan_outs[0]))
        drawn = (first + second) * data.graph.merge.most_neighbors
        seconds += drawn * DRAW_SECONDS
        why += f", {drawn:,} numbers drawn"
    return seconds, f"{1e3 * seconds:.0f} ms a step: {why}"


def _trainings(profile: LightsageProfile, data: TaskSettings) -> Item:
    plain, sampled = _counts(profile, data)
    one, why = _step_seconds(profile, profile.recipe, data, sampled=False)
    two, why_sampled = _step_seconds(profile, profile.recipe, data, sampled=True)
    seeds = len(profile.seeds)
    seconds = seeds * (plain * profile.recipe.steps * one + sampled * profile.recipe.steps * two)
    return Item(
        what=f"trainings on {data.name}"
        + (", scarce search" if data == profile.scarce_search else ""),
        value=seconds / 3600,
        unit="h",
        follows_from=f"{seeds} seeds · ({plain} of {profile.recipe.steps:,} steps, {why}; "
        f"{sampled} of {profile.recipe.steps:,} steps, {why_sampled})",
    )


def _lightgcn_graphs(profile: LightsageProfile) -> list[tuple[str, int, int]]:
    """Return name and upper bounds of nodes and directed edges of each LightGCN graph."""
    found = []
    for data in (profile.data, *profile.real):
        size, k = size_of(data), data.graph.merge.most_neighbors
        if "lightgcn items" in data.baselines:
            found.append((f"items of {data.name}", size.items, 2 * k * size.items))
        if "lightgcn users" in data.baselines:
            found.append((f"users of {data.name}", size.items + size.events, 2 * size.events))
    return found


def _lightgcn_hours(profile: LightsageProfile) -> Item:
    """Return the hours of sums over neighbors: a row read per entry, forward and backward."""
    settings, seeds = profile.lightgcn, len(profile.seeds)
    rate = GPU_BYTES if profile.budget.gpu_memory_gib else CPU_BYTES
    edges = sum(count for _, _, count in _lightgcn_graphs(profile))
    bytes_a_step = 2 * settings.layers * edges * profile.width * 4
    return Item(
        what="LightGCN",
        value=seeds * settings.recipe.steps * bytes_a_step / rate / 3600,
        unit="h",
        follows_from=f"{seeds} seeds · {settings.recipe.steps:,} steps · 2 · {settings.layers} "
        f"layers · {edges:,} entries · {profile.width} · 4 bytes at {rate / 1e9:,.0f} GB/s",
    )


def _lightgcn_memory(profile: LightsageProfile) -> Item:
    """Return the size of node vectors (weights, gradient, Adam, layers) and of the graph."""
    layers, width = profile.lightgcn.layers, profile.width
    found = [
        ((4 * width * (6 + layers) * nodes + 8 * edges) / GIB, name, nodes, edges)
        for name, nodes, edges in _lightgcn_graphs(profile)
    ]
    value, name, nodes, edges = max(found, default=(0.0, "no graph", 0, 0))
    return Item(
        what="LightGCN's vectors and graph",
        value=value,
        unit="GiB",
        follows_from=f"{name}: 4 bytes · {width} · {6 + layers} · {nodes:,} + 8 · {edges:,}",
    )


def _graphs(profile: LightsageProfile) -> Item:
    """Return the hours of graphs: the ablation's for each synthetic shop, one per real log."""
    drawn = len(profile.seeds) if profile.data.name == "synthetic" else 1
    # The random control redraws for each seed but counts no events.
    events = drawn * len(profile.graphs) * size_of(profile.data).events
    events += sum(size_of(data).events for data in profile.real)
    return Item(
        what="graphs",
        value=events / EVENTS_PER_SECOND / 3600,
        unit="h",
        follows_from=f"{events:,} events over {len(profile.graphs)} of {len(GRAPHS)} graphs, "
        f"{EVENTS_PER_SECOND:,.0f} events/s",
    )


def _ranking(profile: LightsageProfile) -> Item:
    """Return the hours of ranking: each arm scores every test pair in three passes."""
    arms = sum(_counts(profile, profile.data)) + len(profile.data.baselines)
    rows = arms * size_of(profile.data).items
    rows += sum((2 + len(data.baselines)) * size_of(data).items for data in profile.real)
    scores = 3 * PAIRS * len(profile.seeds) * rows
    rate = GPU_BYTES / 32 if profile.budget.gpu_memory_gib else RANKED_PER_SECOND
    return Item(
        what="ranking",
        value=scores / rate / 3600,
        unit="h",
        follows_from=f"{scores:,} scores, {rate:,.0f} a second",
    )


def _graph_frames(profile: LightsageProfile) -> Item:
    """Return the size of the graphs' edges: 17 bytes an entry, and 16 before both directions."""
    total, parts = 0, []
    for data in (profile.data, *profile.real):
        entries = size_of(data).items * data.graph.merge.most_neighbors
        graphs = len(profile.graphs) if data == profile.data else 1
        total += 33 * entries * graphs
        parts.append(f"33 · {entries:,} · {graphs}")
    return Item(
        what="edges of graphs",
        value=total / GIB,
        unit="GiB",
        follows_from="bytes · entries · graphs: " + "; ".join(parts),
    )


def _tables(profile: LightsageProfile) -> Item:
    """Return the size of X and A X in float32, of each A, and of the newest vectors."""
    total, parts = 0, []
    for data in (profile.data, *profile.real):
        size, k = size_of(data), data.graph.merge.most_neighbors
        graphs = len(profile.graphs) if data == profile.data else 1
        total += size.items * (8 * size.features + (8 * k + 4) * graphs + 4 * KEPT * profile.width)
        parts.append(
            f"{size.items:,} · (8 · {size.features} + (8 · {k} + 4) · {graphs} + "
            f"{4 * KEPT} · {profile.width})"
        )
    return Item(
        what="features, matrices and vectors where they are computed with",
        value=total / GIB,
        unit="GiB",
        follows_from="bytes: " + "; ".join(parts),
    )


def _score_bytes(profile: LightsageProfile) -> int:
    """Return the size of one matrix of a batch's scores in float32."""
    return 4 * profile.recipe.batch * (profile.recipe.batch + profile.negatives.count)


def _logits(profile: LightsageProfile) -> Item:
    """Return the size of a batch's four score matrices: logits, mask, softmax, gradient."""
    pool = profile.recipe.batch + profile.negatives.count
    return Item(
        what="scores of a batch",
        value=4 * _score_bytes(profile) / GIB,
        unit="GiB",
        follows_from=f"4 matrices · {profile.recipe.batch:,} · {pool:,} · 4 bytes",
    )


def _indices(profile: LightsageProfile) -> Item:
    items = max(size_of(data).items for data in (profile.data, *profile.real))
    total = len(profile.indices) * items * (4 * profile.width + 8 * 2 * 32)
    return Item(
        what="indices",
        value=total / GIB,
        unit="GiB",
        follows_from=f"{len(profile.indices)} · {items:,} · (4 · {profile.width} + 512 of links)",
    )


def _features_on_disk(profile: LightsageProfile) -> Item:
    """Return the size of X and A X in half precision for each one-hop training, if on disk."""
    total = 0
    if profile.out_of_core:
        for data in (profile.data, *profile.real):
            size, (plain, _) = size_of(data), _counts(profile, data)
            total += len(profile.seeds) * plain * 2 * 2 * size.items * size.features
    return Item(
        what="features on disk",
        value=total / GIB,
        unit="GiB",
        follows_from="2 tables · 2 bytes a number, a training of one hop"
        if profile.out_of_core
        else "features stay in memory",
    )


def _downloads(profile: LightsageProfile) -> Item:
    entries = catalog()
    total = 0.0
    for data in (profile.data, *profile.real):
        if data.name in CATALOG:
            total += (entries[CATALOG[data.name]].bytes or 0) / GIB
        elif data.name == "coveo":
            total += COVEO_GIB
    return Item(
        what="data on disk", value=total, unit="GiB", follows_from="sizes in the catalog; Coveo's "
        "by its readme", in_data_folder=True,
    )  # fmt: skip


def _checkpoints(profile: LightsageProfile) -> Item:
    """Return the size of the newest and the best checkpoint of each training, with moments."""
    total = 0
    for data in (profile.data, *profile.real):
        size, (plain, sampled) = size_of(data), _counts(profile, data)
        small = 2 * (plain + sampled) * 12 * (2 * size.features + 2 * profile.width) * profile.width
        with_ids = 2 * 12 * size.items * profile.width * (data != profile.data)
        total += len(profile.seeds) * (small + with_ids)
    return Item(
        what="checkpoints on disk",
        value=total / GIB,
        unit="GiB",
        follows_from=f"2 checkpoints · 12 bytes a parameter; '{WITH_IDS}' has one vector an item",
    )
