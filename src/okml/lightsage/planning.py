"""The resources of a run of the chapter, computed from its jobs, sizes and counts."""

from __future__ import annotations

from collections import Counter

from okml.lightsage import arms
from okml.lightsage.graph.ablation import GraphName
from okml.lightsage.settings import DataName, LightsageProfile, TaskSettings
from okml.plan import CPU_WORKERS, LOGS, PROCESS_GIB, Item, LogSize, Plan, downloads, reading
from okml.runtime import GIB

# Users and events in training, and items and features of the shop.
SIZES: dict[DataName, LogSize] = {
    "movielens": LOGS["ml_100k"]._replace(events=55_375, features=92),
    "diginetica": LogSize(993_483, 43_105, 230_000, features=64),
    "complete_journey": LogSize(1_221_711, 67_788, 2_456, features=134),
    # 36 M events, mostly page views without a product; 66 thousand products.
    "coveo": LogSize(15_000_000, 66_386, 1, features=145, exact=False),
}
CATALOG = {
    "movielens": "ml_100k",
    "diginetica": "ader_diginetica",
    "complete_journey": "complete_journey",
}
WEEKS = 15  # weeks of DIGINETICA's training
COVEO_GIB = 1.9  # three files that come by a form

# Seconds of a training step. CPU: a loop's own time and the numbers that pass through memory, on
# one core (measured at the sizes of the profile `cpu`); trainings run on two cores at a time. GPU:
# tables and graph lie on the card, so a step is the loop's own time, the passes over its score
# matrices at the card's rate, and the random numbers of sampled neighbors, which are drawn on the
# CPU (measured) and copied. What a number, a rank, a word and an indexed vector take on the CPU are
# estimates for sizes that no record has yet.
CPU_STEP, CPU_SAMPLED_STEP, NUMBER_SECONDS = 0.006, 0.012, 1e-8
STEP_OVERHEAD, SCORE_PASSES = 0.004, 12
DRAW_SECONDS = 4e-9  # a random number
GPU_BYTES = 1e12  # a second, read or written, half of what an H100's memory moves
CPU_BYTES = 2e10  # a second, as one core sums neighbors for LightGCN, measured
EVENTS_PER_SECOND = 150_000.0  # a log becomes a graph at this rate, with Swing's edges
# Scores compared on the CPU, products of vectors included; a card compares GPU_BYTES / 32.
RANKED_PER_SECOND = 2e8
WORDS_PER_SECOND = 120_000.0  # item2vec reads sessions at this rate, in one thread
INDEXED_PER_SECOND = 2_500.0  # vectors of a large index, HNSW and IVF-PQ together
KEPT = 4  # trained networks whose vectors stay in memory
# Pairs of a week that is validated or tested without a limit: counted in DIGINETICA's last week; an
# estimate for Coveo, by as many pairs an event. Those of the other shops are a few thousand.
PAIRS = {"diginetica": 55_000, "coveo": 800_000}
FEW_PAIRS = 5_000
RUN_GIB = 1.6  # the run's own process: interpreter, torch, faiss and frames
EVENT_BYTES = 260  # while a log is read, cleaned and joined
PAIRS_A_PURCHASE = 4  # an order's pairs of products, each as large as an event


def plan(profile: LightsageProfile) -> Plan:
    """Return memory, disk, data and hours of a run, with their derivation."""
    beside = (profile.scarce_search, profile.in_view)
    shops = [profile.data, *(shop for shop in beside if shop is not None), *profile.real]
    trainings = _trainings(profile)
    hours = [_hours(profile, *kind) for kind in trainings]
    hours += [_graphs(profile), _ranking(profile), _large_index(profile)]
    loading, tables = reading(max(map(_rows, shops)), EVENT_BYTES), _tables(profile)
    scores = Item.product("scores of a batch", matrices=4, bytes=_score_bytes(profile))
    messages, indices = _lightgcn_memory(profile), _indices(profile)
    device = tables.value + max(scores.value, messages.value)  # one training at a time
    memory = RUN_GIB + loading.value + indices.value
    if not profile.for_gpu:  # there the tables are, and each worker has its own
        memory += device + CPU_WORKERS * (PROCESS_GIB + loading.value + device)
    data = [CATALOG[shop.name] for shop in shops if shop.name in CATALOG]
    by_hand = {shop.name for shop in shops if shop.name == "coveo"}
    files = len(by_hand) * COVEO_GIB * GIB
    return Plan.of(
        profile,
        sizes=[*map(_size, shops)],
        hours=hours,
        device=[loading, tables, scores, messages, indices],
        disk=[
            downloads(data),
            _checkpoints(profile, trainings),
            Item.gib("Coveo's files", files, "its readme", in_data_folder=True),
        ],
        device_gib=1.0 + device,  # 1 GiB: the driver's context
        memory_gib=memory,
        data=(*by_hand, *data),
        jobs=sum(count for *_, count in trainings),
    )


def size_of(data: TaskSettings) -> LogSize:
    """Return the size of a shop; a synthetic one's follows from its settings."""
    if data.name != "synthetic":
        size = SIZES[data.name]
        return size._replace(events=size.events * (data.train_weeks or WEEKS) // WEEKS)
    shop = data.shop
    share = shop.train_days / shop.days
    # A visit has 1 + mean_extra_steps steps; an account of a ring clicks a share of its items.
    rings = shop.rings * shop.ring_accounts * shop.ring_items * shop.ring_share
    events = share * (shop.sessions * (1 + shop.mean_extra_steps) + rings)
    return LogSize(round(events), shop.items, shop.users, features=shop.features)


def _rows(data: TaskSettings) -> int:
    baskets = "same_order" in data.graph.strong.rules
    return size_of(data).events * (PAIRS_A_PURCHASE if baskets else 1)


def _size(data: TaskSettings) -> Item:
    size = size_of(data)
    why = f"{size.items:,} items, {size.features} features each"
    unit = "rows" if size.exact else "rows, an estimate"
    return Item.number(f"events of {data.name}", size.events, why, unit)


# Data, how it trains, multiples of the data's features, and how many there are.
Trainings = tuple[TaskSettings, str, int, int]
SAMPLED = "of sampled hops"


def _trainings(profile: LightsageProfile) -> list[Trainings]:
    """Return the kinds of trainings; the first seed has one for each rate that is tried."""
    counts: Counter[tuple[str, str, int]] = Counter()
    shops = {}
    for job in arms.all_jobs(profile):
        arm, how, tables = job.arm, f"of {job.arm}", 1
        if isinstance(arm, arms.Arm):
            how = SAMPLED if arm.encoder.sampled else "of one hop"
            tables += arm.diffused
        elif arm == "pinsage":
            how = SAMPLED
        shops[job.data.key] = job.data
        rates = len(profile.rate_factors) if job.seed == profile.seeds[0] else 1
        counts[job.data.key, how, tables] += rates
    return [(shops[shop], how, tables, count) for (shop, how, tables), count in counts.items()]


def _hours(
    profile: LightsageProfile, data: TaskSettings, how: str, tables: int, count: int
) -> Item:
    if how == "of item2vec":
        epochs = profile.item2vec.epochs
        checks = epochs if profile.recipe.evaluate_every else 0
        seconds = size_of(data).events * epochs / WORDS_PER_SECOND
        why = f"{epochs} epochs, {WORDS_PER_SECOND:,.0f} clicks a second"
    else:
        recipe = profile.lightgcn.recipe if "lightgcn" in how else profile.recipe
        step, why = _step(profile, data, how, tables)
        checks = recipe.steps // recipe.evaluate_every if recipe.evaluate_every else 0
        seconds = recipe.steps * step
        why = f"{recipe.steps:,} steps, {1e3 * step:.0f} ms each: {why}"
    scores = checks * _scores(data, data.valid_pairs)
    seconds += scores / _ranked_per_second(profile)
    cores = 1 if profile.for_gpu else CPU_WORKERS
    what = f"trainings {how} on {data.name}" + (", SIGN" if tables > 1 else "")
    why = f"{count} trainings of {seconds:,.0f} s at {cores} a time ({why}; {checks} validations)"
    return Item.hours(what, count * seconds / cores, why)


def _step(
    profile: LightsageProfile, data: TaskSettings, how: str, tables: int
) -> tuple[float, str]:
    """Return the seconds of a training step, with their derivation."""
    size, recipe, sampled = size_of(data), profile.recipe, how == SAMPLED
    if "lightgcn" in how:
        edges, layers = _lightgcn_graph(data, how)[1], profile.lightgcn.layers
        moved = 2 * layers * edges * profile.width * 4
        rate = GPU_BYTES if profile.for_gpu else CPU_BYTES
        return moved / rate, f"2 · {layers} sums over {edges:,}"
    first = 2 * recipe.batch + profile.negatives.count
    second = min(size.items, first * (1 + profile.fan_outs[0]))
    if profile.for_gpu:
        seconds = STEP_OVERHEAD + SCORE_PASSES * _score_bytes(profile) / GPU_BYTES
        why = f"{SCORE_PASSES} passes over the scores"
        if sampled:
            drawn = (first + second) * data.graph.merge.most_neighbors
            return seconds + drawn * DRAW_SECONDS, f"{why}, {drawn:,} numbers drawn"
        return seconds, why
    rows = first + second * profile.fan_outs[-1] if sampled else 3 * first * tables
    numbers = rows * size.features
    start = CPU_SAMPLED_STEP if sampled else CPU_STEP
    return start + numbers * NUMBER_SECONDS, f"{numbers:,} numbers"


def _scores(data: TaskSettings, pairs: int | None) -> int:
    """Return the number of scores of a ranking of so many pairs; None: of all of a week."""
    return (pairs or PAIRS.get(data.name, FEW_PAIRS)) * size_of(data).items


def _ranked_per_second(profile: LightsageProfile) -> float:
    return GPU_BYTES / 32 if profile.for_gpu else RANKED_PER_SECOND


def _lightgcn_graph(data: TaskSettings, how: str) -> tuple[int, int]:
    """Return upper bounds of the nodes and directed edges of a graph of LightGCN."""
    size, k = size_of(data), data.graph.merge.most_neighbors
    if how == "of lightgcn items":
        return size.items, 2 * k * size.items
    return size.items + size.users, 2 * size.events


def _lightgcn_memory(profile: LightsageProfile) -> Item:
    """Return the size of node vectors (weights, gradient, Adam, layers) and of the graph."""
    graphs = [
        _lightgcn_graph(data, f"of {name}")
        for data in (profile.data, *profile.real)
        for name in data.baselines
        if "lightgcn" in name
    ]
    nodes, edges = max(graphs, default=(0, 0))
    size = 4 * profile.width * (6 + profile.lightgcn.layers) * nodes
    return Item.sum("LightGCN's vectors and graph", vectors=size, edges=8 * edges)


def _graphs(profile: LightsageProfile) -> Item:
    """Return the hours of graphs, each built once a log.

    The kinds of edges of a log are counted once; what another seed draws are ties of a cut.
    """
    events, counts = 0, []
    for data, names, seeds in _graphs_read(profile):
        built = len(names) * (seeds if data.seeded else 1)
        events += built * size_of(data).events
        counts.append(f"{built} of {data.name}")
    why = f"{', '.join(counts)}: {events:,} events, {EVENTS_PER_SECOND:,.0f} a second"
    return Item.hours("graphs", events / EVENTS_PER_SECOND, why)


def _graphs_read(profile: LightsageProfile) -> list[tuple[TaskSettings, set[GraphName], int]]:
    """Return each shop with the names of its graphs and the number of its seeds."""
    found: dict[str, tuple[TaskSettings, set[GraphName], int]] = {}
    for job in arms.all_jobs(profile):
        data, main = job.data, job.data.main_graph  # whose pairs every arm learns
        names = found.setdefault(data.key, (data, set(), len(profile.seeds)))[1]
        names |= {main, job.arm.graph if isinstance(job.arm, arms.Arm) else main}
    covered: set[GraphName] = {"strong", "strong + swing"}
    few = min(len(profile.seeds), arms.COVERAGE_SEEDS)
    shops = arms.shops_of_coverage(profile).values()
    return [*found.values(), *((data, covered, few) for data in shops)]


def _ranking(profile: LightsageProfile) -> Item:
    """Return the hours of ranking: each arm scores every test pair in three passes, once."""
    jobs = [*{job for rows in arms.tables(profile) for _, job in rows}]
    jobs += [job for _, job in arms.tail_jobs(profile)]
    scores = sum(3 * _scores(job.data, job.data.test_pairs) for job in jobs)
    rate = _ranked_per_second(profile)
    why = f"{scores:,} scores of {len(jobs)} arms and seeds, {rate:,.0f} a second"
    return Item.hours("ranking", scores / rate, why)


def _large_index(profile: LightsageProfile) -> Item:
    items = profile.index_items or 0
    why = f"{items:,} vectors, {INDEXED_PER_SECOND:,.0f} a second"
    return Item.hours("a large index", items / INDEXED_PER_SECOND, why)


def _tables(profile: LightsageProfile) -> Item:
    """Return the size of X and A X in float32, of each graph, and of the newest vectors.

    An entry of a graph has 33 bytes as edges of both kinds, and 8 in a matrix A.
    """
    total, parts = 0, []
    for data, names, _ in _graphs_read(profile):
        size, k, graphs = size_of(data), data.graph.merge.most_neighbors, len(names)
        total += size.items * (8 * size.features + 41 * k * graphs + 4 * KEPT * profile.width)
        parts.append(f"{size.items:,} · (8 · {size.features} + 41 · {k} · {graphs} + "
                     f"{4 * KEPT} · {profile.width})")  # fmt: skip
    return Item.gib("features, graphs and vectors", total, "bytes: " + "; ".join(parts))


def _score_bytes(profile: LightsageProfile) -> int:
    """Return the size of one matrix of a batch's scores: logits, mask, softmax or gradient."""
    return 4 * profile.recipe.batch * (profile.recipe.batch + profile.negatives.count)


def _indices(profile: LightsageProfile) -> Item:
    """Return the size of vectors, of the largest index, and of its bytes when it is measured."""
    items = max(size_of(data).items for data in (profile.data, *profile.real))
    items = max(items, profile.index_items or 0)
    each = 3 * 4 * profile.width + 2 * (4 * profile.width + 512)
    return Item.product("indices", items=items, bytes=each)


def _checkpoints(profile: LightsageProfile, trainings: list[Trainings]) -> Item:
    """Return the size of the newest and the best checkpoint of each training, with moments."""
    numbers = 0
    for data, how, tables, count in trainings:
        size = size_of(data)
        rows = 2 * tables * size.features + 2 * profile.width
        if "lightgcn" in how:
            rows = _lightgcn_graph(data, how)[0]
        elif how == SAMPLED:
            rows += size.items  # some have a vector of each item
        numbers += count * rows * profile.width
    why = f"2 checkpoints · 12 bytes a parameter, {numbers:,} parameters"
    return Item.gib("checkpoints on disk", 2 * 12 * numbers, why)
