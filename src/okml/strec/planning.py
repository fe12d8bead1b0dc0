"""The plan of a run of the chapter, from sizes and counts alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import cast

import torch

from okml.data.logs import entry_of
from okml.plan import Item, Plan, downloads, in_gib, in_hours, reading
from okml.seqrec.backbone import Backbone
from okml.seqrec.settings import BackboneSettings
from okml.strec.arms import BACKBONE, Job, all_jobs, build, mixer_arms, tries
from okml.strec.costs import Costs, encoder_costs
from okml.strec.schedule import full_schedule
from okml.strec.settings import DataSettings, StrecProfile
from okml.strec.timing import saved_bytes
from okml.training.recent import RECENT


@dataclass(frozen=True)
class Size:
    """The size of a log, known before it is read.

    Attributes:
        events: Number of events.
        items: Number of items.
        rows: Number of training rows with a full history, or an upper bound.
        tests: Number of test rows with a full history, or an upper bound.
        users: Number of users with a full history before what is held out, for profiles that take
            a number of rows from each.
        exact: Whether the numbers were counted; otherwise they are bounds, since the counts after
            the filter are not published.
    """

    events: int
    items: int
    rows: int
    tests: int
    exact: bool
    users: int | None = None

    def training_rows(self, data: DataSettings) -> int:
        """Return the number of training rows of an epoch."""
        if data.rows_per_user is None or self.users is None:
            return self.rows
        return min(self.rows, data.rows_per_user * self.users)


# Counted under the protocols of `cpu` and `night`, or published before the paper's filter. Users
# of MovieLens-20M have 144 ratings on average, so 13 to 15 million rows have a full history, of
# which 8 in 11 train.
SIZES = {
    "ml_100k": Size(100_000, 1_682, 16_654, 2_470, exact=True, users=494),
    "ml_1m": Size(1_000_209, 3_706, 720_169, 4_247, exact=True, users=4_205),
    "ml_20m": Size(20_000_263, 26_744, 10_000_000, 1_300_000, exact=False),
    "gowalla_merged": Size(3_981_334, 1_280_969, 2_900_000, 362_000, exact=False),
    "amazon_electronics": Size(7_824_482, 476_002, 5_700_000, 712_000, exact=False),
}

# Assumed sustained floating-point operations per second.
GPU_FLOPS = {"bf16": 60e12, "no": 30e12}  # one H100 at widths of 128, far below its peak
CPU_FLOPS = 0.08e12  # two cores, measured on encoders of width 64
# Expected epochs of the last stage until early stopping: half of Algorithm 1's count for our
# recipe, and an estimate for the authors'.
EXPECTED_EPOCHS = {"modern": 30, "faithful": 100}
EXPECTED_CAUSAL_EPOCHS = 60
PASSES = 3  # a forward pass, and a backward pass that costs twice as much
TRACED_ROWS = 8  # of a pass whose bytes are counted
PASSING = 0.25  # memory of a step that is not kept, over what is
LOADING_BYTES = 180  # bytes for each event while a log is read, sorted and split


def plan(profile: StrecProfile) -> Plan:
    """Return parameters, memory, disk, data and hours of a run, with their formulas."""
    trainings = Counter(_group(profile, job) for job in _trainings(profile))
    hours = [_hours(profile, group, count) for group, count in trainings.items()]
    hours.append(_ranking(profile, trainings))
    memory = [_weights(profile), _kept(profile), _activations(profile), _logits(profile)]
    names = tuple(dict.fromkeys(entry_of(data.log) for data in profile.datasets))
    loading = reading(max(SIZES[data.log].events for data in profile.datasets), LOADING_BYTES)
    return Plan.of_logs(
        profile,
        sizes=[_rows(data) for data in profile.datasets],
        hours=hours,
        device=memory,
        loading=loading,
        disk=[downloads(names), _checkpoints(profile, trainings)],
        data=names,
    )


def _trainings(profile: StrecProfile) -> list[Job]:
    """Return every training, warm starts and those that choose learning rates included."""
    jobs = all_jobs(profile)
    starts = [job.warm_start for job in jobs if job.warm_start is not None]
    first = profile.seeds[0]
    return [
        training
        for job in dict.fromkeys([*jobs, *starts])
        for training in (tries(profile, job) if job.seed == first else [job])
    ]


@dataclass(frozen=True)
class Group:
    """Trainings of one kind on one data set, which have equal costs.

    Attributes:
        data: The settings of the data set.
        what: The description in the plan.
        rows: Number of rows, or of windows, in an epoch.
        epochs: Expected number of epochs.
        encoder: Operations of a forward pass of one row or window.
        targets: Number of targets of one row or window.
        validations: Expected number of validations.
    """

    data: DataSettings
    what: str
    rows: int
    epochs: int
    encoder: int
    targets: int
    validations: int


def _group(profile: StrecProfile, job: Job) -> Group:
    data, size = job.data, SIZES[job.data.log]
    full = full_schedule(data.length, profile.network.layers)
    every = (data.length,) * profile.network.layers
    windows = -(-size.events // data.length)
    if job.arm.training == "windows":
        layers = job.arm.layers or profile.causal.layers[0]
        causal = _costs(profile, data, (data.length,) * layers)
        reference = job.arm.layers is None
        what = "references of other papers" if reference else f"causal SASRec, {layers} layers"
        epochs = min(profile.causal.epochs, EXPECTED_CAUSAL_EPOCHS)
        validations = _validations(epochs, profile.causal.evaluate_every)
        return Group(data, what, windows, epochs, causal.encoder, data.length, validations)
    if job.arm.training == "warm start":
        costs = _costs(profile, data, every)
        epochs = job.recipe.warm_start_epochs
        validations = _validations(epochs, profile.causal.evaluate_every)
        return Group(data, "warm starts", windows, epochs, costs.encoder, data.length, validations)
    relaxed, hard = job.epochs or (job.recipe.relaxed_epochs, job.recipe.hard_epochs)
    hard = min(hard, EXPECTED_EPOCHS[job.recipe.name])
    # Stage 1 costs as much as the backbone; the sample saves operations only in stage 2.
    soft = relaxed if job.arm.learns_sample else 0
    schedule = job.arm.schedule or full
    length = job.arm.length or data.length
    if job.arm.length is not None:
        schedule = full_schedule(length, profile.network.layers)
    shown = "-".join(map(str, schedule))
    cheap = _costs(profile, data, schedule, length).encoder
    dear = _costs(profile, data, full).encoder
    epochs = relaxed + hard
    average = (soft * dear + (epochs - soft) * cheap) // max(1, epochs)
    rows, validations = size.training_rows(data), _validations(epochs, job.recipe.evaluate_every)
    return Group(data, f"{job.recipe.name}, {shown}", rows, epochs, average, 1, validations)


def _validations(epochs: int, every: int | None) -> int:
    return 1 if every is None else -(-epochs // every)


def _costs(
    profile: StrecProfile, data: DataSettings, schedule: tuple[int, ...], length: int | None = None
) -> Costs:
    network = profile.network
    return encoder_costs(schedule, length or data.length, network.width, network.hidden)


def _hours(profile: StrecProfile, group: Group, count: int) -> Item:
    rate = _rate(profile)
    scoring = 2 * SIZES[group.data.log].items * profile.network.width * group.targets
    flops = PASSES * (group.encoder + scoring)
    return in_hours(
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
    main, size = profile.main, SIZES[profile.main.log]
    full = _costs(profile, main, full_schedule(main.length, profile.network.layers)).encoder
    flops = full + 2 * size.items * profile.network.width
    tests, rows = 2 * trainings.total(), min(main.validation_rows or size.tests, size.tests)
    validations = sum(group.validations * count for group, count in trainings.items())
    return in_hours(
        "rankings of validation and test",
        (tests * size.tests + validations * rows) * flops / _rate(profile),
        f"({tests} tests · {size.tests:,} + {validations} validations · {rows:,} rows)"
        f" · {flops / 1e6:.1f} MFLOP",
    )


def _rows(data: DataSettings) -> Item:
    size = SIZES[data.log]
    return Item(
        what=f"training rows of {data.log}",
        value=size.training_rows(data),
        unit="rows" if size.exact else "rows, an estimate",
        follows_from=f"{size.events:,} events; windows of {data.length}; 8 of 11 rows train"
        if not size.exact
        else f"counted; at most {data.rows_per_user} of each of {size.users} users"
        if data.rows_per_user
        else "counted",
    )


def _parameters(profile: StrecProfile, data: DataSettings) -> int:
    network = profile.network
    blocks = network.layers * (4 * network.width**2 + 2 * network.width * network.hidden)
    return SIZES[data.log].items * network.width + blocks


def _weights(profile: StrecProfile) -> Item:
    parameters = max(_parameters(profile, data) for data in profile.datasets)
    return in_gib(
        "weights, gradients and Adam",
        16 * parameters,
        f"16 bytes · {parameters:,} parameters: items times width, and blocks",
    )


def _kept(profile: StrecProfile) -> Item:
    parameters = max(_parameters(profile, data) for data in profile.datasets)
    kinds = 4  # warm starts, causal encoders, references, arms
    return in_gib(
        "the latest finished trainings",
        kinds * RECENT * 4 * parameters,
        f"{kinds} kinds · {RECENT} · 4 bytes · {parameters:,}",
    )


def _activations(profile: StrecProfile) -> Item:
    """Return what a training step of the largest encoder keeps for its backward pass.

    It is counted of the encoder itself, without arithmetic. E1, which is in float32, may need more:
    what runs out of memory there has that as its value in the table.
    """
    main = profile.main
    rows = max(
        max(recipe.batch for recipe in profile.recipes),
        profile.causal.batch,
        profile.recipe.warm_start_batch,
    )
    bf16 = profile.mixed_precision == "bf16"
    kept = {}
    for arm in (BACKBONE, *mixer_arms(profile)):
        encoder = cast(Backbone, build(arm, 1, profile, main, profile.recipe))
        kept[arm.name] = _kept_bytes(encoder.settings, bf16)
    name = max(kept, key=kept.__getitem__)
    return in_gib(
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


def _logits(profile: StrecProfile) -> Item:
    """Return the memory of three chunk-sized matrices: logits, probabilities, ranking scores."""
    chunk = max(getattr(recipe.loss, "chunk_bytes", 0) for recipe in profile.recipes)
    return in_gib(
        "scores of a chunk",
        3 * max(chunk, 4 * 2**24),
        f"3 matrices of {max(chunk, 4 * 2**24) / 2**20:,.0f} MiB",
    )


def _checkpoints(profile: StrecProfile, trainings: Counter[Group]) -> Item:
    """Return the disk space of the newest and the best checkpoint, with Adam's moments."""
    total, parts = 0, []
    for data in profile.datasets:
        count = sum(n for group, n in trainings.items() if group.data == data)
        parameters = _parameters(profile, data)
        total += 2 * count * 12 * parameters
        parts.append(f"{count} of {data.log} with {parameters:,} parameters")
    return in_gib(
        "checkpoints on disk",
        total,
        "2 checkpoints · 12 bytes a parameter, trainings: " + ", ".join(parts),
    )
