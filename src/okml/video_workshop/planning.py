"""The resources of a run of the chapter, computed from sizes and counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from okml.data import catalog
from okml.errors import ParameterError
from okml.plan import (
    CPU_WORKERS,
    LOGS,
    PASSES,
    Item,
    LogSize,
    Plan,
    downloads,
    in_gib,
    in_hours,
    summed,
)
from okml.runtime import GIB
from okml.seqrec.losses import AnyLoss, ChunkedSoftmaxSettings, SampledSoftmaxSettings
from okml.training.recent import RECENT
from okml.video_workshop.common.content import SENTENCE_MODEL, TFIDF_WIDTH
from okml.video_workshop.goals.experiments.top_k import arms as reinforce_arms
from okml.video_workshop.goals.simulator import ORACLES
from okml.video_workshop.items.arms import last_item_jobs, new_item_jobs
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.data import WatchLogSettings
from okml.video_workshop.settings.goals import RankerSettings
from okml.video_workshop.settings.items import ItemsSettings, LeaveOneOutSettings
from okml.video_workshop.settings.stream import SessionLog, SessionSettings, WeeklySettings
from okml.video_workshop.settings.users import UserModelSettings
from okml.video_workshop.stream import arms as stream
from okml.video_workshop.users import arms as users

# Counts of the logs' files; those of MicroLens are rounded in the publications.
SIZES = {
    "ml_100k": replace(LOGS["ml_100k"], days=215),
    "ml_1m": replace(LOGS["ml_1m"], days=1_039),
    "ml_20m": replace(LOGS["ml_20m"], days=7_386),
    "ml_25m": replace(LOGS["ml_25m"], days=9_082),
    "ader_diginetica": LogSize(993_483, 43_136, 204_789, days=17),
    "ader_yoochoose": replace(LOGS["ader_yoochoose"], days=17),
    "kuairand_pure": LogSize(1_436_609 + 1_186_059, 7_583, 27_285, days=31),
    "kuairand_1k": LogSize(11_713_045 + 43_028, 4_369_953, 1_000, days=31),
    "kuairand_27k": LogSize(322_278_385 + 1_186_059, 32_038_725, 27_285, days=31),
    "microlens_100k": LogSize(719_000, 19_738, 100_000, days=365),
    "microlens_1m": LogSize(9_100_000, 91_402, 1_000_000, days=365),
}
# Days from the start, and the share of the events in them, where events are not uniform in time;
# counted.
FIRST_DAYS = {"ml_1m": (224, 0.81)}
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
# A ranking masks and compares a score and finds the items that users have seen, beside the product,
# which is in float32: measured on two cores of a CPU, assumed for a GPU, about 80 bytes at 2 TB/s.
GPU_SCORE_SECONDS = 4e-11
CPU_SCORE_SECONDS = 3e-9
TEST_USERS = {"ml_100k": 301, "ml_1m": 1_783}  # with events after the cut; counted, else all
LIKED = 0.57  # share of the events that are liked; counted on MovieLens
REQUESTS = 4.5  # a user makes so many a day on average, those who stay away included
DAY_SECONDS = 9e-5  # a user's day in the simulator, on one core
LOADING_BYTES = 240  # an event takes them while a log is read, sorted and numbered
# What processes of the simulator hold, by the runs of `cpu` and `night`, two of them workers: their
# roll-outs and scores, tables of users and items of each world, and a request of each kept log.
SIMULATING_BYTES, WORLD_TABLES, REQUEST_BYTES = 0.53 * GIB, 6, 212
ACTIVATIONS = 34  # numbers that a block keeps for a token and a unit of width, as in GPT-2


@dataclass(frozen=True)
class Work:
    """Trainings of the same cost.

    Attributes:
        what: Description in words.
        count: Number of trainings.
        steps: Steps per training.
        positions: Positions per step.
        flops: FLOPs of the forward pass per position.
        checkpoint: Bytes of the checkpoint of each training; 0: no checkpoint.
    """

    what: str
    count: float
    steps: int
    positions: int
    flops: float
    checkpoint: int = 0


@dataclass(frozen=True)
class Ranking:
    """Evaluations of the same cost.

    Attributes:
        what: Description in words.
        count: Number of evaluations.
        rows: Number of rows of each.
        forward: FLOPs of the history of a row.
        scores: Number of items that a row is scored against.
        width: Dimension of the vectors.
        autocast: Whether histories are read in the precision of the training.
    """

    what: str
    count: float
    rows: int
    forward: float
    scores: int
    width: int
    autocast: bool = False


def plan(profile: VideoWorkshopProfile) -> Plan:
    """Return parameters, memory, disk, data and hours of a run, with their derivation."""
    works = [*_users(profile), *_items(profile), *_stream(profile), *_goals(profile)]
    data = _archives(profile)
    rankings = (*_user_rankings(profile), *_item_rankings(profile), *_stream_rankings(profile))
    hours = [*(_hours(profile, work) for work in works), _rollouts(profile),
             *(_ranking_hours(profile, ranking) for ranking in rankings)]  # fmt: skip
    memory = [*_memory(profile)]
    loading = _host_memory(profile)
    names = tuple(name for name in data if name in catalog())
    checkpoints = in_gib(
        "checkpoints on disk", sum(work.count * work.checkpoint for work in works),
        "12 bytes a parameter with Adam's moments, 4 if frozen",
        at_most=profile.data.least_item_events is not None,
    )  # fmt: skip
    return Plan.of_logs(
        profile,
        hours=hours,
        device=memory,
        loading=loading,
        disk=[downloads(names), _files(profile), checkpoints],
        data=data,
        jobs=round(sum(work.count for work in works)),
    )


def _archives(profile: VideoWorkshopProfile) -> tuple[str, ...]:
    """Return the logs that a run reads, and the encoder of their titles."""
    encoded = any(data.text == "minilm" and not data.features for data in _data(profile))
    return (*profile.logs, *((SENTENCE_MODEL,) if encoded else ()))


def size_of(log: str) -> LogSize:
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
    """Return an upper bound of the number of items after the log's filter.

    Every item of a log has an event, those that the filter drops included.
    """
    size, least = size_of(data.log), data.least_item_events or 1
    return size.items if least == 1 else min(size.items, (size.events - size.items) // (least - 1))


def users_of(data: WatchLogSettings) -> int:
    """Return the number of users of the part that is read."""
    return data.users or size_of(data.log).users


def events_of(data: WatchLogSettings) -> float:
    """Return the expected number of events of the log's part that is read."""
    size = size_of(data.log)
    return size.events * users_of(data) / size.users


def events_before(data: WatchLogSettings, days: float) -> float:
    """Return the expected number of events of the first days."""
    last = size_of(data.log).days
    bend, share = FIRST_DAYS.get(data.log, (last, 1.0))
    return events_of(data) * float(np.interp(days, (0, bend, last), (0, share, 1)))


def flops(model: UserModelSettings, loss: AnyLoss, items: int) -> float:
    """Return the FLOPs of one event in the blocks and of its scores, two per multiply-add."""
    return _blocks(model) + 2.0 * model.width * _classes(loss, items)


def _blocks(model: UserModelSettings) -> int:
    """Return the FLOPs of one event in the blocks.

    A block has 12 d^2 weights, and attention two products with half of the n positions each.
    """
    return model.layers * (24 * model.width**2 + 2 * model.length * model.width)


def _classes(loss: AnyLoss, items: int) -> int:
    """Return the number of items that a position is scored against."""
    return loss.negatives + 1 if isinstance(loss, SampledSoftmaxSettings) else items


def parameters(model: UserModelSettings, items: int) -> int:
    """Return the number of weights of a user model with one row per item, without heads."""
    blocks = 12 * model.layers * model.width**2 + model.length * model.width
    return items * model.width + blocks


def _users(profile: VideoWorkshopProfile) -> Iterator[Work]:
    """Yield the trainings of user models and of recommenders, grouped by size."""
    items, chosen = item_bound(profile.data), profile.users.downstream
    jobs = users.all_jobs(profile)
    every = dict.fromkeys([*jobs, *(need for job in jobs for need in users.needs_of(job))])
    counted: Counter[Work] = Counter()
    for job in every:
        base = job.what if isinstance(job.what, users.Base) else job.what.base
        how, model = base.pretraining, base.model
        position, weights = flops(model, how.loss, items), parameters(model, items)
        if isinstance(job.what, users.Base):
            further = 2 if how.weights.multi else 0  # softmaxes of the items two and three ahead
            position += further * 2.0 * model.width * _classes(how.loss, items)
            work = Work(f"pre-training, d = {model.width}", 1, how.steps, how.batch * model.length,
                        position, 12 * weights)  # fmt: skip
        else:
            mode, few = job.what.mode, job.what.share < 1
            steps = (chosen.steps if few else chosen.steps_all_labels) + (
                how.steps if mode == "scratch" else 0
            )
            # Two checkpoints: the last, and the best in validation.
            work = Work(f"recommenders, {mode}, d = {model.width}", 1, steps,
                        chosen.batch * model.length, position,
                        2 * (4 if mode == "frozen" else 12) * weights)  # fmt: skip
        counted[work] += 1
    yield from (replace(work, count=count) for work, count in counted.items())


def _user_rankings(profile: VideoWorkshopProfile) -> Iterator[Ranking]:
    """Yield validations and tests of recommenders, grouped by size.

    Retrieval scores all items, in a test also as related ones, and ranking the target alone.
    """
    settings, chosen, data = profile.users, profile.users.downstream, profile.data
    people = users_of(data)
    tables = (users.reuse_rows(profile), users.size_rows(profile), users.ablation_rows(profile))
    tests = [row.job for rows in tables for row in rows]  # some in several tables, each time anew
    counted: Counter[Ranking] = Counter()

    def add(what: str, arm: users.UserArm, times: int, most: float, lists: int) -> None:
        model, retrieval = arm.base.model, arm.task == "retrieval"
        counted[Ranking(
            f"{what} of {arm.task}, d = {model.width}", 1,
            math.ceil(most * (LIKED if retrieval else 1)), model.length * _blocks(model),
            lists * item_bound(data) if retrieval else 0, model.width, what == "validations",
        )] += times  # fmt: skip

    for job in users.all_jobs(profile):
        arm = job.what
        assert isinstance(arm, users.UserArm)
        steps = chosen.steps if arm.share < 1 else chosen.steps_all_labels
        steps += arm.base.pretraining.steps if arm.mode == "scratch" else 0
        labeled = min(settings.valid_users, math.ceil(arm.share * people))
        add("validations", arm, math.ceil(steps / chosen.evaluate_every),
            labeled * settings.valid_rows, 1)  # fmt: skip
    for job in tests:
        assert isinstance(job.what, users.UserArm)
        tested = min(TEST_USERS.get(data.log, people), people)
        add("tests", job.what, 1, tested * settings.test_rows, 2)
    yield from (replace(ranking, count=count) for ranking, count in counted.items())


def _items(profile: VideoWorkshopProfile) -> Iterator[Work]:
    """Yield the trainings of item representations; all arms cost about as much as ``id``.

    On last items an epoch has one window for each user, and the cost is that of a softmax over all
    items, which exceeds one over the batch's targets.
    """
    data, settings = profile.cold_data or profile.data, profile.items
    last, items = settings.leave_one_out, item_bound(data)
    people = users_of(data)
    parts: tuple[tuple[str, ItemsSettings | LeaveOneOutSettings, int, int], ...] = (
        ("item representations", settings, len(new_item_jobs(profile)),
         max(people, math.ceil(events_of(data) / settings.model.length))),  # one a user or more
        ("everybody's last item", last, len(last_item_jobs(profile)), people),
    )  # fmt: skip
    for what, how, count, seen in parts:
        yield Work(
            what, count, how.epochs * math.ceil(seen / how.batch),
            how.batch * how.model.length, flops(how.model, how.loss, items),
            12 * parameters(how.model, items),
        )  # fmt: skip


def _item_rankings(profile: VideoWorkshopProfile) -> Iterator[Ranking]:
    """Yield the tests of item representations, and the validations and tests on last items."""
    data, settings = profile.cold_data or profile.data, profile.items
    last, items = settings.leave_one_out, item_bound(data)
    cold = settings.held_out * settings.test_share * events_of(data)
    warm = settings.test_share * events_of(data) - cold
    rows = math.ceil(cold + min(settings.warm_targets or warm, warm))
    people = users_of(data)
    for what, count, asked, model in (
        ("tests of item representations", len(new_item_jobs(profile)), rows, settings.model),
        ("rankings of everybody's last item", len(last_item_jobs(profile)) * (last.epochs + 1),
         people, last.model),
    ):  # fmt: skip
        yield Ranking(what, count, asked, model.length * _blocks(model), items, model.width)


def _stream_rankings(profile: VideoWorkshopProfile) -> Iterator[Ranking]:
    """Yield the rankings of all served periods.

    On the chapter's log, requests of launched items are ranked besides the drawn ones.
    """
    weekly, data, jobs = profile.stream.weekly, profile.data, stream.all_jobs(profile)
    launches, choice = weekly.launches, weekly.choice
    periods, before, events = _periods(profile)
    span = launches.last - launches.first + 1
    late = range(launches.first, periods)
    launched = launches.share * events * sum(
        min((period - launches.first + 1) / span, 1) for period in late
    )  # fmt: skip
    mine = [job for job in jobs if job.arm.log is None]
    tried = {early for job in mine for early in stream.choice_jobs(profile, job.arm)}
    served = (periods - weekly.first) * min(weekly.rows, events) + launched
    early = choice.periods * min(weekly.rows, choice.users * before)
    runs: list[tuple[str, int, float, WeeklySettings | SessionSettings, int]] = [
        ("stream", len(mine), served, weekly, item_bound(data)),
        ("choice of rates", len(tried), early, weekly, item_bound(data)),
    ]
    for number, shop in enumerate(profile.stream.sessions):
        size, count = size_of(shop.log), sum(job.arm.log == number for job in jobs)
        share = (shop.sessions or math.inf) / (size.users / size.days)
        clicks = min(shop.rows, min(share, 1) * size.events / size.days)
        runs.append((shop.log, count, (shop.periods - 1) * clicks, shop, shop.items or size.items))
    for what, count, rows, settings, items in runs:
        model = settings.training.model
        yield Ranking(f"{what}: rankings", count, math.ceil(rows),
                      model.length * _blocks(model), items, model.width)  # fmt: skip


def _stream(profile: VideoWorkshopProfile) -> Iterator[Work]:
    """Yield the trainings on streams.

    A session takes one window, which is mostly padding.
    """
    weekly, data, jobs = profile.stream.weekly, profile.data, stream.all_jobs(profile)
    periods, *events = _periods(profile)
    before, windows = (number / weekly.training.model.length for number in events)
    mine = [job for job in jobs if job.arm.log is None]
    yield from _prequential("stream", weekly, mine, before, windows, weekly.first, periods,
                            item_bound(data))  # fmt: skip
    tried = {early for job in mine for early in stream.choice_jobs(profile, job.arm)}
    yield from _prequential("choice of rates", weekly, [*tried], before,
                            weekly.choice.users * before, weekly.first - weekly.choice.periods,
                            weekly.first, item_bound(data))  # fmt: skip
    for number, shop in enumerate(profile.stream.sessions):
        size = size_of(shop.log)
        sessions = shop.sessions or size.users / size.days
        mine = [job for job in jobs if job.arm.log == number]
        yield from _prequential(shop.log, shop, mine, sessions, sessions, 1, shop.periods,
                                shop.items or size.items)  # fmt: skip


def _periods(profile: VideoWorkshopProfile) -> tuple[int, float, float]:
    """Return the number of periods, and the events of one before and after the first served."""
    weekly, data = profile.stream.weekly, profile.data
    periods = max(math.ceil(size_of(data.log).days / weekly.days), weekly.first + 1)
    early = events_before(data, weekly.first * weekly.days)
    return periods, early / weekly.first, (events_of(data) - early) / (periods - weekly.first)


def _prequential(
    what: str,
    settings: WeeklySettings | SessionSettings,
    jobs: list[stream.StreamJob],
    before: float,
    windows: float,
    first: int,
    periods: int,
    items: int,
) -> Iterator[Work]:
    """Yield the trainings of one stream.

    Args:
        what: Name of the stream.
        settings: Its settings.
        jobs: Its runs.
        before: Number of windows of a period before the first served one.
        windows: Number of windows of a served period.
        first: Number of the first served period.
        periods: Number of all periods.
        items: Number of items.
    """
    training, model, served = settings.training, settings.training.model, periods - first
    strategies = Counter(job.arm.strategy for job in jobs)
    bases = len({(job.arm.table, job.seed) for job in jobs})
    # Events that an update reads, for each new one. Exemplars come in few large batches: all old
    # ones took about two plain updates more, measured.
    old = settings.strategies.replay_ratio
    read = {"stale": 0, "retrain": 0, "replay": 1 + old, "repeat": 1 + old, "distillation": 2,
            "distillation_all": 3}  # fmt: skip
    updates = round(sum(count * read.get(name, 1) for name, count in strategies.items()))
    retrainings = strategies["retrain"] * (served // settings.strategies.retrain_every)
    position, kept = flops(model, training.loss, items), 12 * parameters(model, items)
    for name, count, epochs, seen, batch in (
        ("bases", bases, training.base_epochs, first * before, training.batch),
        ("updates of all periods", updates, training.update_epochs, served * windows,
         training.update_batch),
        ("retrainings", retrainings, training.base_epochs, first * before + served * windows / 2,
         training.batch),
    ):  # fmt: skip
        steps = math.ceil(epochs * seen / batch)
        stored = kept if name == "bases" else 0
        yield Work(f"{what}: {name}", count, steps, batch * model.length, position, stored)


def _goals(profile: VideoWorkshopProfile) -> Iterator[Work]:
    """Yield the trainings on impressions, without the cost of importance weights."""
    goals, worlds, real = profile.goals, len(profile.worlds), profile.traffic_data
    simulator, rated = goals.simulator, profile.world_data or profile.data
    daily = REQUESTS * users_of(rated)
    nets = len({*goals.click_models} - {"popularity", "regression"}) + len(goals.several_goals) + 1
    yield _rankers("rankers", worlds * nets, goals.ranker, daily * simulator.log_days,
                   simulator.slate)  # fmt: skip
    policies = len(reinforce_arms(simulator.slate))
    # Besides, stage 1 of TSCAC has a policy of likes, and critics are trained twice: those of all
    # responses at once, and RCPO's. Each of these trainings costs about as much as an actor.
    actors = _methods(profile) + 3
    shown, requests, runs, items = simulator.slate, daily, worlds, item_bound(rated)
    if real is not None:
        size = size_of(real.log)
        shown, requests, runs, items = 1, size.events / size.days, len(profile.seeds), size.items
    for what, count, days, of_day, scored, network in (
        ("policies of REINFORCE", worlds * policies, simulator.log_days, daily, item_bound(rated),
         goals.reinforce.network),
        ("actor-critics", worlds * actors, goals.constrained.log_days, daily, item_bound(rated),
         goals.constrained.network),
        ("actor-critics on usual traffic", runs * actors, goals.traffic.train_days, requests, items,
         goals.constrained.network),
    ):  # fmt: skip
        steps = math.ceil(network.epochs * of_day * days / network.batch)
        yield Work(what, count, steps, network.batch, 2 * network.width * scored)
    nets = len(goals.traffic.click_models) + len(goals.traffic.several_goals)
    yield _rankers("rankers on usual traffic", runs * nets, goals.ranker,
                   requests * goals.traffic.train_days, shown)  # fmt: skip


def _methods(profile: VideoWorkshopProfile) -> int:
    """Return the number of actor-critics, of cloning, and of TSCAC with each multiplier."""
    return 6 + len(profile.goals.constrained.multipliers)


def _rankers(what: str, count: int, how: RankerSettings, requests: float, shown: int) -> Work:
    position = 2 * how.heads.experts * 4 * how.width * how.heads.expert_width
    steps = math.ceil(how.epochs * requests / how.batch)
    return Work(what, count, steps, how.batch * shown, position)


def _rollouts(profile: VideoWorkshopProfile) -> Item:
    """Return the hours of roll-outs, which run on the CPU."""
    goals, simulator = profile.goals, profile.goals.simulator
    rated = profile.world_data or profile.data
    people = users_of(rated)
    served = len(goals.click_models) + len(goals.several_goals) + 1
    policies, methods = len(reinforce_arms(simulator.slate)), _methods(profile)
    of_world = (
        served * simulator.days + simulator.outcome_days + simulator.log_days
        + policies * goals.reinforce.network.days + methods * goals.constrained.network.days
        + goals.constrained.log_days + 3 * goals.held_out_days
        + (goals.traffic.days if profile.traffic_data is None else 0)
    )  # fmt: skip
    days = len(profile.worlds) * of_world + goals.oracle_worlds * len(ORACLES) * simulator.days
    return in_hours(
        "roll-outs of the simulator",
        days * people * DAY_SECONDS,
        f"{days:,} days · {people:,} users · {1e6 * DAY_SECONDS:g} microseconds",
    )


def _hours(profile: VideoWorkshopProfile, work: Work) -> Item:
    rate = GPU_FLOPS[profile.mixed_precision] if profile.for_gpu else CPU_FLOPS
    step = GPU_STEP_SECONDS if profile.for_gpu else CPU_STEP_SECONDS
    seconds = PASSES * work.positions * work.flops / rate + step
    return in_hours(
        work.what,
        work.count * work.steps * seconds,
        f"{work.count} trainings · {work.steps:,} steps · ({PASSES} · "
        f"{work.positions:,} positions · {work.flops / 1e6:.2f} MFLOP at {rate / 1e12:g} TFLOP/s "
        f"+ {1000 * step:g} ms)",
    )


def _ranking_hours(profile: VideoWorkshopProfile, ranking: Ranking) -> Item:
    """Return the hours of forward passes and scores; a score is a product, and a comparison."""
    exact = GPU_FLOPS["no"] if profile.for_gpu else CPU_FLOPS
    rate = GPU_FLOPS[profile.mixed_precision] if profile.for_gpu and ranking.autocast else exact
    compared = GPU_SCORE_SECONDS if profile.for_gpu else CPU_SCORE_SECONDS
    score = 2 * ranking.width / exact + compared
    return in_hours(
        ranking.what,
        ranking.count * ranking.rows * (ranking.forward / rate + ranking.scores * score),
        f"{ranking.count} rankings · {ranking.rows:,} rows · ({ranking.forward / 1e6:.2f} MFLOP at "
        f"{rate / 1e12:g} TFLOP/s + {ranking.scores:,} scores · {1e9 * score:.3g} ns)",
    )


def _data(profile: VideoWorkshopProfile) -> tuple[WatchLogSettings, ...]:
    found = (profile.data, profile.cold_data, profile.world_data, profile.traffic_data)
    return tuple(dict.fromkeys(data for data in found if data is not None))


def _host_memory(profile: VideoWorkshopProfile) -> Item:
    """Return what processes hold beside trainings: a log while it is read, and the simulator."""
    goals, worlds = profile.goals, len(profile.worlds)
    rated, simulator = profile.world_data or profile.data, goals.simulator
    users, items = users_of(rated), size_of(rated.log).items
    days = worlds * (simulator.outcome_days + simulator.log_days + goals.held_out_days)
    return summed(
        "the largest log while it is read, and the simulator",
        events=LOADING_BYTES * max(size_of(log).events for log in profile.logs),
        worlds=8 * WORLD_TABLES * users * items * (worlds + goals.oracle_worlds),
        their_logs=REQUEST_BYTES * days * users * REQUESTS,
        processes=SIMULATING_BYTES * (1 + CPU_WORKERS),
    )


def _memory(profile: VideoWorkshopProfile) -> Iterator[Item]:
    """Yield the memory of the largest training, of a user model, and of a ranking."""
    settings, how = profile.users, profile.users.pretraining
    model, items, rows = settings.base, item_bound(profile.data), profile.evaluation_batch
    numbers = parameters(model, items)
    weights = f"{items:,} items · {model.width} + blocks = {numbers:,}"
    yield in_gib("weights, gradients and Adam of the largest training", 16 * numbers,
               f"16 bytes · ({weights})")  # fmt: skip
    if settings.table in ("content", "hybrid_content"):
        read = [FEATURE_BYTES[name] // 4 for name in profile.data.features]
        width = sum(read or [TEXT_WIDTHS[profile.data.text]])
        yield in_gib("features of content", 4 * items * width,
                   f"4 bytes · {items:,} items · {width} numbers")  # fmt: skip
    yield in_gib("the latest finished trainings", 2 * RECENT * 4 * numbers,
               f"{RECENT} user models, {RECENT} recommenders · 4 bytes · {numbers:,}")  # fmt: skip
    tokens = max(how.batch, settings.downstream.batch) * model.length
    number = 2 if profile.mixed_precision == "bf16" else 4
    held = number * ACTIVATIONS * tokens * model.layers * model.width
    why = f"{tokens:,} tokens · {ACTIVATIONS} · {model.layers} layers · {model.width} · "
    yield in_gib("activations of a step", held, f"{why}{number} bytes")
    positions, softmaxes = how.batch * model.length, 3 if how.weights.multi else 1
    matrix, told = 4 * positions * _classes(how.loss, items), f"{positions:,} positions"
    if isinstance(how.loss, ChunkedSoftmaxSettings):
        matrix, told = how.loss.chunk_bytes, "a chunk"
    yield in_gib("scores of a step", 3 * softmaxes * matrix,
               f"3 matrices · {softmaxes} softmaxes · {told}")  # fmt: skip
    most = max(item_bound(data) for data in _data(profile))
    yield in_gib("scores of a ranking", 2 * 4 * rows * most,
               f"2 matrices · 4 bytes · {rows} rows · {most:,} items")  # fmt: skip


def _files(profile: VideoWorkshopProfile) -> Item:
    """Return the size of files outside the catalog's archives: unpacked logs, and MicroLens."""
    found = {
        data.log: UNPACKED.get(data.log, 0)
        + size_of(data.log).items * sum(FEATURE_BYTES[name] for name in data.features)
        for data in _data(profile)
    }
    told = ", ".join(f"{log} {size / GIB:.2f}" for log, size in found.items() if size)
    what = "unpacked logs and released vectors"
    return in_gib(what, sum(found.values()), told or "none", in_data_folder=True)
