"""The plan of a run of the chapter, from sizes and counts alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from typing import NamedTuple, cast

import torch

from okml.data.logs import entry_of
from okml.plan import LOGS, PASSES, Item, LogSize, Plan, downloads, reading, training_memory
from okml.seqrec.backbone import Backbone
from okml.seqrec.settings import BackboneSettings
from okml.strec import arms
from okml.strec.schedule import Schedule, encoder_costs, full_schedule
from okml.strec.settings import DataSettings, Recipe, StrecProfile
from okml.strec.timing import saved_bytes

# Users, training rows and test rows with a full history, counted under the protocols of `cpu` and
# `night`. Users of MovieLens-20M have 144 ratings on average, so 13 to 15 million rows have a full
# history, of which 8 in 11 train.
SIZES = {
    "ml_100k": LOGS["ml_100k"]._replace(users=494, rows=16_654, tests=2_470),
    "ml_1m": LOGS["ml_1m"]._replace(users=4_205, rows=720_169, tests=4_247),
    "ml_20m": LOGS["ml_20m"]._replace(rows=10_000_000, tests=1_300_000, exact=False),
}
# Upper bounds of events and items once users and items have these least numbers of events; counts
# after the paper's filter, (8, 5), are not published.
# - Amazon: its 5-core, as https://cseweb.ucsd.edu/~jmcauley/datasets/amazon/links.html counts it.
# - Gowalla: each of its items has an event, those with fewer than five included.
BOUNDS = {
    "amazon_electronics": ((5, 5), 1_689_188, 63_001),
    "gowalla_merged": ((1, 5), 3_375_456, 675_091),
}

# Assumed sustained floating-point operations per second.
GPU_FLOPS = {"bf16": 60e12, "no": 30e12}  # one H100 at widths of 128, far below its peak
CPU_FLOPS = 0.11e12  # two cores, measured on encoders of width 64
# Expected epochs of the last stage until early stopping: half of Algorithm 1's count for our
# recipe, and an estimate for the authors'.
EXPECTED_EPOCHS = {"modern": 30, "faithful": 100}
EXPECTED_CAUSAL_EPOCHS = 60
TRACED_ROWS = 8  # rows of a pass whose bytes are counted
PASSING = 0.25  # memory of a step that is not kept, over what is
LOADING_BYTES = 180  # bytes for each event while a log is read, sorted and split
ORDER_BYTES = 40  # bytes for each event, and its rows, in the order of one seed


def size_of(data: DataSettings) -> LogSize:
    """Return the size of a log under its protocol, or an upper bound: 8 of 11 events train."""
    if data.log in SIZES:
        size = SIZES[data.log]
    else:
        whole, (least, kept, items) = LOGS[data.log], BOUNDS[data.log]
        if data.k_core is None or any(n < m for n, m in zip(data.k_core, least, strict=True)):
            kept, items = whole.events, whole.items
        size = whole._replace(kept=kept, items=items, rows=kept * 8 // 11, tests=kept // 11,
                              exact=False)  # fmt: skip
    most = (data.rows_per_user or 0) * size.users
    return size._replace(rows=min(size.rows, most or size.rows))


def plan(profile: StrecProfile) -> Plan:
    """Return parameters, memory, disk, data and hours of a run, with their formulas."""
    logs = profile.datasets
    trainings = Counter(_group(profile, job) for job in _trainings(profile))
    hours = [_hours(profile, group, count) for group, count in trainings.items()]
    hours.append(_ranking(profile, trainings))
    largest = max(_parameters(profile, data) for data in logs)
    chunk = max(getattr(recipe.loss, "chunk_bytes", 0) for recipe in profile.recipes)
    finished = 4 * largest  # a warm start, a causal encoder, a reference and an arm
    memory = training_memory(largest, finished=finished, chunk=chunk)
    event_bytes = LOADING_BYTES + ORDER_BYTES * len(profile.seeds)
    # Of each training the newest and the best checkpoint: parameters and the moments of Adam.
    stored = sum(n * 3 * _parameters(profile, group.data) for group, n in trainings.items())
    checkpoints = Item.product("checkpoints on disk", checkpoints=2, bytes=4, numbers=stored)
    names = [entry_of(data.log) for data in logs]
    return Plan.of(
        profile,
        sizes=[_rows(data) for data in logs],
        hours=hours,
        device=[*memory, _activations(profile)],
        beside=[reading(max(size_of(data).events for data in logs), event_bytes)],
        disk=[downloads(names), checkpoints.bounded(any(data.log in BOUNDS for data in logs))],
        data=names,
        jobs=trainings.total(),
    )


def _trainings(profile: StrecProfile) -> list[arms.Job]:
    """Return every training, warm starts and those that choose learning rates included.

    A first stage of which a training of both stages goes on is that training's.
    """
    jobs = arms.all_jobs(profile)
    passed = {
        replace(job, epochs=(job.stages[0], 0), rate=None, stays_soft=False)
        for job in jobs
        if job.stages[1]
    }
    jobs = [job for job in jobs if replace(job, rate=None) not in passed]
    starts = [start for job in jobs if (start := arms.warm_start(profile, job)) is not None]
    trainings = []
    for job in dict.fromkeys([*jobs, *starts]):
        chooses = job == job.whole and job.seed == profile.seeds[0]
        trainings += arms.tries(profile, job) if chooses else [job]
    return trainings


class Group(NamedTuple):
    """Trainings of one kind on one data set, which have equal costs."""

    data: DataSettings
    what: str  # the description in the plan
    rows: int  # rows, or windows, of an epoch
    epochs: int  # the expected number
    encoder: int  # operations of a forward pass of one row or window
    targets: int  # the targets of one row or window
    validations: int  # the expected number


def _group(profile: StrecProfile, job: arms.Job) -> Group:
    arm, layers, how = job.arm, profile.network.layers, arms.trained_by(profile, job)
    data = job.data.model_copy(update={"tie_rule": "random"})  # the order costs nothing
    size = size_of(data)
    if isinstance(how, Recipe):
        relaxed, hard = job.epochs or (how.relaxed_epochs, how.hard_epochs)
        epochs = relaxed + min(hard, EXPECTED_EPOCHS[how.name])
        rows, targets, rankings, length = size.rows, 1, 1, arm.length or data.length
        schedule = arm.schedule or full_schedule(length, layers)
        cheap = _encoder(profile, schedule, length)
        dear = _encoder(profile, full_schedule(data.length, layers), data.length)
        # Stage 1 costs as much as the backbone; the sample saves operations only in stage 2.
        soft = relaxed if arm.learns_sample else 0
        encoder = (soft * dear + (epochs - soft) * cheap) // max(1, epochs)
        what = f"{how.name}, {'-'.join(map(str, schedule))}"
    else:
        rows = -(-(size.kept or size.events) // data.length)
        rankings = 1 + (how.ema_decay is not None)  # averaged weights are validated besides
        if arm.training == "warm start":
            what, epochs = "warm starts", how.epochs
            targets = data.length // 2  # the others are before the end of a prefix
        else:
            layers = arm.layers or profile.causal.layers[0]
            what = f"causal SASRec, {layers} layers" if arm.layers else "references of other papers"
            epochs, targets = min(how.epochs, EXPECTED_CAUSAL_EPOCHS), data.length
        encoder = _encoder(profile, (data.length,) * layers, data.length)
    validations = -(-epochs // how.evaluate_every) if how.evaluate_every else 1
    return Group(data, what, rows, epochs, encoder, targets, rankings * validations)


def _encoder(profile: StrecProfile, schedule: Schedule, length: int) -> int:
    """Return the operations of a forward pass of an encoder without the scores of items."""
    return encoder_costs(schedule, length, profile.network.width, profile.network.hidden).encoder


def _hours(profile: StrecProfile, group: Group, count: int) -> Item:
    rate = _rate(profile)
    scoring = 2 * size_of(group.data).items * profile.network.width * group.targets
    flops = PASSES * (group.encoder + scoring)
    return Item.hours(
        f"{group.data.log}: {group.what}",
        count * group.epochs * group.rows * flops / rate,
        f"{count} trainings · {group.epochs} epochs · {group.rows:,} rows · "
        f"{PASSES} · ({group.encoder / 1e6:.1f} + {scoring / 1e6:.1f}) MFLOP at "
        f"{rate / 1e12:g} TFLOP/s",
    )


def _rate(profile: StrecProfile) -> float:
    return GPU_FLOPS[profile.mixed_precision] if profile.for_gpu else CPU_FLOPS


def _ranking(profile: StrecProfile, trainings: Counter[Group]) -> Item:
    """Return the hours of all validations, and of ranking the test with and without seen items."""
    main, size, network = profile.main, size_of(profile.main), profile.network
    full = _encoder(profile, full_schedule(main.length, network.layers), main.length)
    flops = full + 2 * size.items * network.width
    tests, rows = 2 * trainings.total(), min(main.validation_rows or size.tests, size.tests)
    validations = sum(group.validations * count for group, count in trainings.items())
    return Item.hours(
        "rankings of validation and test",
        (tests * size.tests + validations * rows) * flops / _rate(profile),
        f"({tests} tests · {size.tests:,} + {validations} validations · {rows:,} rows)"
        f" · {flops / 1e6:.1f} MFLOP",
    )


def _rows(data: DataSettings) -> Item:
    size, bound = size_of(data), data.log in BOUNDS
    unit = "rows" if size.exact or bound else "rows, an estimate"
    why = "counted"
    if not size.exact:
        events = size.kept or size.events
        why = f"{events:,} events; windows of {data.length}; 8 of 11 rows train"
    elif data.rows_per_user:
        why = f"counted; at most {data.rows_per_user} of each of {size.users} users"
    rows = Item.number(f"training rows of {data.log}", size.rows, why, unit)
    return rows.bounded(bound)


def _parameters(profile: StrecProfile, data: DataSettings) -> int:
    network = profile.network
    blocks = network.layers * (4 * network.width**2 + 2 * network.width * network.hidden)
    return size_of(data).items * network.width + blocks


def _activations(profile: StrecProfile) -> Item:
    """Return what a training step of the largest encoder keeps for its backward pass.

    It is counted of the encoder itself, without arithmetic. E1, which is in float32, may need more:
    what runs out of memory there has that as its value in the table.
    """
    main, bf16 = profile.main, profile.mixed_precision == "bf16"
    rows = max(recipe.batch for recipe in profile.recipes)
    rows = max(rows, profile.causal.batch, profile.warm_start.batch)
    kept = {}
    for arm in (arms.BACKBONE, *arms.mixer_arms(profile)):
        encoder = cast(Backbone, arms.build(arm, 1, profile, main, profile.recipe))
        kept[arm.name] = _kept_bytes(encoder.settings, bf16)
    name = max(kept, key=kept.__getitem__)
    return Item.gib(
        "activations of a step",
        (1 + PASSING) * rows * kept[name],
        f"{rows:,} rows of {main.length} tokens · {kept[name] / 2**20:.2f} MiB kept, "
        f"counted of the largest encoder, {name}; and {PASSING:.0%} for gradients on the way and "
        "what only a GPU keeps in float32",
    )


@cache
def _kept_bytes(settings: BackboneSettings, bf16: bool) -> int:
    """Return the bytes that a forward pass keeps for each row; the catalog does not matter."""
    encoder = Backbone(1, settings).train()
    items = torch.ones(TRACED_ROWS, settings.length, dtype=torch.long)
    times = torch.zeros_like(items)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        kept = saved_bytes(lambda: encoder.last(items, times, False), encoder, shapes_only=True)
    return kept // TRACED_ROWS
