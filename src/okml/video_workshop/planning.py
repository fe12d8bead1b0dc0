"""The resources of a run of the chapter, computed from sizes and counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import get_args

from okml.data import catalog
from okml.errors import ParameterError
from okml.plan import Item, Plan, downloads, reading
from okml.runtime import GIB
from okml.seqrec.losses import AnyLoss, ChunkedSoftmaxSettings, SampledSoftmaxSettings
from okml.training.recent import RECENT
from okml.video_workshop.common.content import TFIDF_WIDTH
from okml.video_workshop.goals.simulator import ORACLES
from okml.video_workshop.items.arms import (
    budget_jobs,
    last_item_jobs,
    new_item_jobs,
    pretrained_seeds,
)
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.data import WatchLogSettings
from okml.video_workshop.settings.goals import ConstrainedSettings
from okml.video_workshop.settings.stream import SessionLog
from okml.video_workshop.settings.users import UserModelSettings
from okml.video_workshop.users.arms import Arm, Base, all_jobs, needs_of


@dataclass(frozen=True)
class Size:
    """The counts of a log's files; those of MicroLens are rounded in the publications.

    Attributes:
        events: Number of events.
        items: Number of distinct items.
        users: Number of users or sessions.
        days: Days from the first event to the last, or periods of a log without dates.
    """

    events: int
    items: int
    users: int
    days: float


SIZES = {
    "ml_100k": Size(100_000, 1_682, 943, 215),
    "ml_1m": Size(1_000_209, 3_706, 6_040, 1_039),
    "ml_20m": Size(20_000_263, 26_744, 138_493, 7_386),
    "ml_25m": Size(25_000_095, 59_047, 162_541, 9_082),
    "ader_diginetica": Size(993_483, 43_136, 204_789, 17),
    "ader_yoochoose": Size(3_370_578, 25_958, 816_019, 17),
    "kuairand_pure": Size(1_436_609 + 1_186_059, 7_583, 27_285, 31),
    "kuairand_1k": Size(11_713_045 + 43_028, 4_369_953, 1_000, 31),
    "kuairand_27k": Size(322_278_385 + 1_186_059, 32_038_725, 27_285, 31),
    "microlens_100k": Size(719_000, 19_738, 100_000, 365),
    "microlens_1m": Size(9_100_000, 91_402, 1_000_000, 365),
}
# Bytes of the unpacked files, from the release's own list.
UNPACKED = {"kuairand_pure": 185_000_000, "kuairand_1k": 1_220_000_000,
            "kuairand_27k": 25_500_000_000}  # fmt: skip
FEATURE_BYTES = {"text": 4 * 1024, "image": 4 * 1024, "video": 4 * 768}  # an item of MicroLens-100K
TEXT_WIDTHS = {"tfidf": TFIDF_WIDTH, "minilm": 384}

# Assumed sustained FLOP/s, and the overhead of a step: batch, kernel launches, optimizer.
GPU_FLOPS = {"bf16": 150e12, "no": 30e12}  # one H100, a seventh of its peak in bf16
GPU_STEP_SECONDS = 0.04
CPU_FLOPS = 0.06e12  # two cores, a training on each
CPU_STEP_SECONDS = 0.003  # two trainings side by side
REQUESTS = 4.5  # per user and day, including users who stay away
DAY_SECONDS = 9e-5  # a user's day in the simulator, on one core
PASSES = 3  # forward, and a backward of twice its cost
PROCESS_GIB = 0.9  # interpreter, torch, frames; a CPU run has two more workers
LOADING_BYTES = 240  # per event while a log is read, sorted and numbered


@dataclass(frozen=True)
class Work:
    """Trainings of the same cost.

    Attributes:
        what: Description in words.
        count: Number of trainings.
        steps: Steps per training.
        positions: Positions per step.
        flops: FLOPs of the forward pass per position.
        weights: Number of weights in the checkpoint of each training; 0: no checkpoint.
        trained: Whether the weights are trained, so that a checkpoint has Adam's moments too.
    """

    what: str
    count: int
    steps: int
    positions: int
    flops: float
    weights: int = 0
    trained: bool = True

    @property
    def checkpoint(self) -> int:
        """Size of one training's checkpoint in bytes."""
        return (12 if self.trained else 4) * self.weights


def plan(profile: VideoWorkshopProfile) -> Plan:
    """Return parameters, memory, disk, data and hours of a run, with their derivation."""
    works = _merged([*_users(profile), *_content(profile), *_cold(profile), *_last_items(profile),
                     *_weekly(profile), *_sessions(profile), *_goals(profile)])  # fmt: skip
    logs = profile.logs
    hours = [*(_hours(profile, work) for work in works), _rollouts(profile)]
    memory = [
        _weights(profile),
        *_features(profile),
        _kept(profile),
        _activations(profile),
        _logits(profile),
        _ranking(profile),
    ]
    loading = reading(max(size_of(log).events for log in logs), LOADING_BYTES)
    names = tuple(log for log in logs if log in catalog())
    stored = [downloads(names), _files(profile), _checkpoints(works)]
    device = sum(item.value for item in memory)
    on_gpu = profile.budget.gpu_memory_gib > 0
    return Plan(
        chapter=profile.chapter,
        profile=profile.name,
        gpu_memory_gib=device if on_gpu else 0.0,
        memory_gib=PROCESS_GIB
        + loading.value
        + (PROCESS_GIB if on_gpu else 2 * (PROCESS_GIB + device)),
        disk_gib=sum(item.value for item in stored),
        hours=sum(item.value for item in hours),
        items=(*(_log(data) for data in _data(profile)), *hours, *memory, loading, *stored),
        data=tuple(logs),
    )


def _merged(works: list[Work]) -> list[Work]:
    """Merge trainings of the same cost."""
    counted: Counter[Work] = Counter()
    for work in works:
        counted[replace(work, count=1)] += work.count
    return [replace(work, count=count) for work, count in counted.items()]


def _data(profile: VideoWorkshopProfile) -> tuple[WatchLogSettings, ...]:
    found = (profile.data, profile.cold_data, profile.world_data, profile.traffic_data)
    return tuple(dict.fromkeys(data for data in found if data is not None))


def size_of(log: str) -> Size:
    """Return the counts of a log.

    Raises:
        ParameterError: If its counts are unknown.
    """
    if log not in SIZES:
        known = ", ".join(name for name in SIZES if name not in get_args(SessionLog))
        raise ParameterError(
            f"There is no plan for the log {log!r}: its counts are not known.",
            f"Choose one of {known}.",
        )
    return SIZES[log]


def item_bound(data: WatchLogSettings) -> int:
    """Return an upper bound of the number of items after the log's filter."""
    size = size_of(data.log)
    least = data.least_item_events or 1
    return min(size.items, size.events // least)


def token_flops(model: UserModelSettings) -> float:
    """Return the FLOPs of one event in the blocks, two per multiply-add.

    A block has 12 d^2 weights, and attention two products with half of the n positions each.
    """
    tokens = model.tokens_of_event
    length, width = model.length * tokens, model.width
    return tokens * model.layers * (24 * width**2 + 2 * length * width)


def loss_flops(loss: AnyLoss, width: int, items: int) -> float:
    """Return the FLOPs of the scores of one position."""
    return 2.0 * width * _classes(loss, items)


def _classes(loss: AnyLoss, items: int) -> int:
    """Return the number of items that a position is scored against."""
    return loss.negatives + 1 if isinstance(loss, SampledSoftmaxSettings) else items


def _softmaxes(base: Base) -> int:
    """Return the number of softmaxes in a pre-training step: the next item, and two further."""
    return 3 if base.pretraining.weights.multi else 1


def _users(profile: VideoWorkshopProfile) -> Iterator[Work]:
    """Yield the trainings of user models and of recommenders, grouped by size."""
    settings, items = profile.users, item_bound(profile.data)
    jobs = all_jobs(profile)
    every = dict.fromkeys([*jobs, *(need for job in jobs for need in needs_of(job))])
    counted = Counter(job.what for job in every if isinstance(job.what, Base))
    for base, count in counted.items():
        how = base.pretraining
        scores = _softmaxes(base) * loss_flops(how.loss, base.model.width, items)
        yield Work(
            f"pre-training, d = {base.model.width}",
            count, how.steps, how.batch * base.model.length, token_flops(base.model) + scores,
            parameters(base.model, items),
        )  # fmt: skip
    downstream = settings.downstream
    for arm, count in Counter(job.what for job in every if isinstance(job.what, Arm)).items():
        model, loss = arm.base.model, arm.base.pretraining.loss
        before = arm.base.pretraining.steps if arm.mode == "scratch" else 0
        yield Work(
            f"recommenders, {arm.mode}, d = {model.width}",
            count, before + downstream.steps, downstream.batch * model.length,
            token_flops(model) + loss_flops(loss, model.width, items), parameters(model, items),
            trained=arm.mode in ("scratch", "full"),
        )  # fmt: skip


def _content(profile: VideoWorkshopProfile) -> Iterator[Work]:
    """Yield the pre-training of content vectors; a position is an item of a pair."""
    data, items = profile.cold_data or profile.data, profile.items
    settings, width = items.pretraining, items.pretraining.width
    read = _content_widths(data)
    # Encoders and decoders; then each of b items against b partners.
    weights = sum(f * items.hidden + items.hidden * width + width * f for f in read)
    if seeds := pretrained_seeds(profile):
        yield Work(
            "pre-training of content vectors", len(seeds), settings.steps, 2 * settings.batch,
            2 * weights + settings.batch * width, weights,
        )  # fmt: skip


def _content_widths(data: WatchLogSettings) -> list[int]:
    """Return the number of features of each modality."""
    return [FEATURE_BYTES[name] // 4 for name in data.features] or [TEXT_WIDTHS[data.text]]


def _cold(profile: VideoWorkshopProfile) -> Iterator[Work]:
    """Yield the trainings of item representations; all arms cost about as much as ``id``."""
    data, settings = profile.cold_data or profile.data, profile.items
    size, model = size_of(data.log), settings.model
    events = round(size.events * (data.users or size.users) / size.users)
    steps = settings.epochs * -(-events // (model.length * settings.batch))
    items = item_bound(data)
    yield Work(
        "item representations",
        len({*new_item_jobs(profile), *budget_jobs(profile)}),
        steps,
        settings.batch * model.length,
        token_flops(model) + loss_flops(settings.loss, model.width, items),
        parameters(model, items),
    )


def _last_items(profile: VideoWorkshopProfile) -> Iterator[Work]:
    """Yield the trainings of the last-item experiment; an epoch has one window for each user.

    The cost is that of a softmax over all items, which exceeds one over the batch's targets.
    """
    data, settings = profile.cold_data or profile.data, profile.items.leave_one_out
    model, items = settings.model, item_bound(data)
    yield Work(
        "everybody's last item",
        len(last_item_jobs(profile)),
        settings.epochs * math.ceil((data.users or SIZES[data.log].users) / settings.batch),
        settings.batch * model.length,
        token_flops(model) + loss_flops(settings.loss, model.width, items),
        parameters(model, items),
    )


def _weekly(profile: VideoWorkshopProfile) -> Iterator[Work]:
    """Yield the trainings on the stream of the chapter's log, with events uniform in time."""
    weekly, seeds = profile.stream.weekly, len(profile.seeds)
    training, model = weekly.training, weekly.training.model
    data, size = profile.data, size_of(profile.data.log)
    periods = max(math.ceil(size.days / weekly.days), weekly.first + 1)
    served = periods - weekly.first
    events = size.events * (data.users or size.users) / size.users / periods  # of a period
    arms = [name for name in weekly.arms for _ in range(seeds)] + list(weekly.more_arms)
    retrained = sum(name == "retrain" for name in arms)
    updated = sum(name not in ("stale", "retrain") for name in arms)
    # Other intervals with every seed; expiring rows and factorization once.
    updated += len(weekly.new_rows) + len(weekly.shards) * seeds + 2
    tables, shocked = len(weekly.tables), weekly.shock is not None
    small = weekly.small_batch
    # Each seed; factorization, expiring rows, content tables; one for the alignment.
    bases = len({*profile.seeds, profile.seeds[0] + 1}) + 2 + tables
    retrainings = served // weekly.strategies.retrain_every
    items = item_bound(data)
    flops = token_flops(model) + loss_flops(training.loss, model.width, items)
    step = training.batch * model.length
    for what, count, epochs, seen in (
        ("stream: base", bases, training.base_epochs, weekly.first * events),
        ("stream: updates of all periods", updated + tables + shocked, training.update_epochs,
         served * events),
        ("stream: a retraining", (retrained + shocked) * retrainings, training.base_epochs,
         (weekly.first + served / 2) * events),
    ):  # fmt: skip
        steps = math.ceil(epochs * seen / step)
        kept = parameters(model, items) if what == "stream: base" else 0
        yield Work(what, count, steps, step, flops, kept)
    if small is not None:
        step = small * model.length
        steps = math.ceil(training.update_epochs * served * events / step)
        yield Work("stream: updates in smaller steps", 1 + min(tables, 1), steps, step, flops)


def _sessions(profile: VideoWorkshopProfile) -> Iterator[Work]:
    """Yield the trainings on logs of sessions; a session takes one window, mostly padding."""
    for settings in profile.stream.sessions:
        training, model, size = settings.training, settings.training.model, size_of(settings.log)
        sessions = settings.sessions or size.users / size.days  # of a period
        items = settings.items or size.items
        served = settings.periods - 1  # each is followed by an update
        retrainings = served // settings.strategies.retrain_every
        # A short retraining has the steps of an update.
        updated = sum(name not in ("stale", "retrain") for name in settings.arms)
        flops = token_flops(model) + loss_flops(training.loss, model.width, items)
        for what, count, epochs, seen in (
            ("base", 1, training.base_epochs, sessions),
            ("updates of all periods", updated, training.update_epochs, served * sessions),
            ("a retraining", retrainings * ("retrain" in settings.arms), training.base_epochs,
             (1 + (served + 1) / 2) * sessions),
        ):  # fmt: skip
            yield Work(
                f"{settings.log}: {what}", count, math.ceil(epochs * seen / training.batch),
                training.batch * model.length, flops,
            )  # fmt: skip


def _goals(profile: VideoWorkshopProfile) -> Iterator[Work]:
    """Yield the trainings on logs of the simulator, without the cost of importance weights."""
    goals, seeds = profile.goals, len(profile.seeds)
    users, simulator = _world_users(profile), goals.simulator
    ranker, heads = goals.ranker, goals.ranker.heads
    nets = len(set(goals.click_models) - {"popularity", "regression"}) + len(goals.several_goals)
    yield Work(
        "rankers",
        seeds * nets + goals.extra_seeds * len(goals.extra_goals),
        math.ceil(ranker.epochs * REQUESTS * users * simulator.log_days / ranker.batch),
        ranker.batch * simulator.slate,
        2 * heads.experts * 4 * ranker.width * heads.expert_width,
    )
    constrained = goals.constrained
    for what, arms, network, days in (
        ("policies of REINFORCE", 2 + len(goals.reinforce.ks), goals.reinforce.network,
         simulator.log_days),
        ("actor-critics", _critic_arms(constrained), constrained.network, constrained.log_days),
    ):  # fmt: skip
        yield Work(
            what,
            seeds * arms,
            math.ceil(network.epochs * REQUESTS * users * days / network.batch),
            network.batch,
            2 * network.width * item_bound(profile.world_data or profile.data),
        )
    yield from _traffic(profile)


def _traffic(profile: VideoWorkshopProfile) -> Iterator[Work]:
    """Yield the trainings on the log with random impressions, as if all requests were usual."""
    goals, seeds = profile.goals, len(profile.seeds)
    data, simulator, heads = profile.traffic_data, goals.simulator, goals.ranker.heads
    items = item_bound(data or profile.world_data or profile.data)
    if data is None:
        shown, requests = simulator.slate, REQUESTS * _world_users(profile)  # of a day
    else:
        shown, requests = 1, math.ceil(size_of(data.log).events / size_of(data.log).days)
    requests *= goals.traffic.train_days
    yield Work(
        "rankers on usual traffic",
        seeds * (len(goals.traffic.click_models) + len(goals.traffic.several_goals)),
        math.ceil(goals.ranker.epochs * requests / goals.ranker.batch),
        goals.ranker.batch * shown,
        2 * heads.experts * 4 * goals.ranker.width * heads.expert_width,
    )
    network = goals.constrained.network
    yield Work(
        "actor-critics on usual traffic",
        seeds * _critic_arms(goals.constrained),
        math.ceil(network.epochs * requests / network.batch),
        network.batch,
        2 * network.width * items,
    )


def _critic_arms(settings: ConstrainedSettings) -> int:
    """Return the number of trainings: one for each method, and one for each joint critic."""
    return 3 + 2 * len(settings.penalties) + 2 * len(settings.multipliers)


def _world_users(profile: VideoWorkshopProfile) -> int:
    data = profile.world_data or profile.data
    return data.users or size_of(data.log).users


def _rollouts(profile: VideoWorkshopProfile) -> Item:
    """Return the hours of roll-outs, which run on the CPU."""
    goals, seeds, users = profile.goals, len(profile.seeds), _world_users(profile)
    rankers = seeds * (len(goals.click_models) + len(goals.several_goals) + 1)
    constrained = goals.constrained
    critics = 3 + 2 * len(constrained.penalties) + len(constrained.multipliers)
    days = (
        (rankers + len(ORACLES) * goals.oracle_seeds) * goals.simulator.days
        + seeds * (2 + len(goals.reinforce.ks)) * goals.reinforce.network.days
        + seeds * critics * constrained.network.days
        + seeds * (goals.simulator.log_days + goals.held_out_days + constrained.log_days)
        + (seeds * goals.traffic.days if profile.traffic_data is None else 0)
    )
    return Item(
        what="roll-outs of the simulator",
        value=days * users * DAY_SECONDS / 3600,
        unit="h",
        follows_from=f"{days:,} days · {users:,} users · {1e6 * DAY_SECONDS:g} microseconds",
    )


def _hours(profile: VideoWorkshopProfile, work: Work) -> Item:
    on_gpu = profile.budget.gpu_memory_gib > 0
    rate = GPU_FLOPS[profile.mixed_precision] if on_gpu else CPU_FLOPS
    step = GPU_STEP_SECONDS if on_gpu else CPU_STEP_SECONDS
    seconds = PASSES * work.positions * work.flops / rate + step
    return Item(
        what=work.what,
        value=work.count * work.steps * seconds / 3600,
        unit="h",
        follows_from=f"{work.count} trainings · {work.steps:,} steps · ({PASSES} · "
        f"{work.positions:,} positions · {work.flops / 1e6:.2f} MFLOP at {rate / 1e12:g} TFLOP/s "
        f"+ {1000 * step:g} ms)",
    )


def _log(data: WatchLogSettings) -> Item:
    size = size_of(data.log)
    return Item(
        what=f"items of {data.log}",
        value=item_bound(data),
        unit="items at most",
        follows_from=f"{size.items:,} in the files; {size.events:,} events, an item joins with "
        f"number {data.least_item_events or 1}",
    )


def parameters(model: UserModelSettings, items: int) -> int:
    """Return the number of weights of a user model with one row per item, without heads."""
    blocks = 12 * model.layers * model.width**2 + model.length * model.width
    return items * model.width + blocks


def _weights(profile: VideoWorkshopProfile) -> Item:
    items, width = item_bound(profile.data), profile.users.base.width
    numbers = parameters(profile.users.base, items)
    return Item(
        what="weights, gradients and Adam of the largest training",
        value=16 * numbers / GIB,
        unit="GiB",
        follows_from=f"16 bytes · ({items:,} items · {width} + blocks = {numbers:,})",
    )


def _features(profile: VideoWorkshopProfile) -> Iterator[Item]:
    """Yield the size of the content that the user model's table reads, if it does."""
    if profile.users.table in ("content", "hybrid_content"):
        items, numbers = item_bound(profile.data), sum(_content_widths(profile.data))
        yield Item(
            what="features of content",
            value=4 * items * numbers / GIB,
            unit="GiB",
            follows_from=f"4 bytes · {items:,} items · {numbers} numbers",
        )


def _kept(profile: VideoWorkshopProfile) -> Item:
    numbers = parameters(profile.users.base, item_bound(profile.data))
    return Item(
        what="the latest finished trainings",
        value=2 * RECENT * 4 * numbers / GIB,
        unit="GiB",
        follows_from=f"{RECENT} user models and {RECENT} recommenders · 4 bytes · {numbers:,}",
    )


def _positions(profile: VideoWorkshopProfile) -> int:
    """Return the number of tokens of the largest step."""
    users = profile.users
    batch = max(users.pretraining.batch, users.downstream.batch)
    twice = 2 if "interleaved" in users.extras else 1
    return batch * users.base.length * twice


def _activations(profile: VideoWorkshopProfile) -> Item:
    """Bound the activations of a step: about 34 numbers per block, token and width, as in GPT-2."""
    model, tokens = profile.users.base, _positions(profile)
    number = 2 if profile.mixed_precision == "bf16" else 4
    return Item(
        what="activations of a step",
        value=number * 34 * tokens * model.layers * model.width / GIB,
        unit="GiB",
        follows_from=f"{tokens:,} tokens · 34 · {model.layers} layers · {model.width} · "
        f"{number} bytes",
    )


def _logits(profile: VideoWorkshopProfile) -> Item:
    """Return the size of three logit matrices for each softmax of a step, or of a chunk."""
    how = profile.users.pretraining
    positions, items = how.batch * profile.users.base.length, item_bound(profile.data)
    classes = _classes(how.loss, items)
    softmaxes = 3 if how.weights.multi or "further" in profile.users.extras else 1
    matrix = 4 * positions * classes
    told = f"4 bytes · {positions:,} positions · {classes:,} items"
    if isinstance(how.loss, ChunkedSoftmaxSettings):
        matrix, told = how.loss.chunk_bytes, "a chunk"
    return Item(
        what="scores of a step",
        value=3 * softmaxes * matrix / GIB,
        unit="GiB",
        follows_from=f"3 matrices · {softmaxes} softmaxes · {told}",
    )


def _ranking(profile: VideoWorkshopProfile) -> Item:
    """Return the size of the scores of one batch of requests or item pairs."""
    rows = profile.evaluation_batch
    items = max(item_bound(data) for data in _data(profile))
    return Item(
        what="scores of a ranking",
        value=2 * 4 * rows * items / GIB,
        unit="GiB",
        follows_from=f"2 matrices · 4 bytes · {rows} rows · {items:,} items",
    )


def _files(profile: VideoWorkshopProfile) -> Item:
    """Return the size of files outside the catalog's archives: unpacked logs, and MicroLens."""
    found, told = 0, []
    for data in _data(profile):
        beside = UNPACKED.get(data.log, 0)
        beside += size_of(data.log).items * sum(FEATURE_BYTES[name] for name in data.features)
        if beside:
            found += beside
            told.append(f"{data.log} {beside / GIB:.2f}")
    return Item(
        what="unpacked logs and released vectors",
        value=found / GIB,
        unit="GiB",
        follows_from=", ".join(told) or "none",
        in_data_folder=True,
    )


def _checkpoints(works: list[Work]) -> Item:
    count = sum(work.count for work in works)
    return Item(
        what="checkpoints on disk",
        value=sum(work.count * work.checkpoint for work in works) / GIB,
        unit="GiB",
        follows_from=f"{count} trainings; 12 bytes a parameter with Adam's moments, 4 if frozen",
    )
