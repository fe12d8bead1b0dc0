"""The resources of a run of the chapter, computed from sizes and counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from okml.data import catalog
from okml.plan import ACTIVATIONS, CPU_WORKERS, LOGS, PASSES, Item, LogSize, Plan, downloads
from okml.runtime import GIB
from okml.seqrec.losses import AnyLoss, ChunkedSoftmaxSettings, SampledSoftmaxSettings
from okml.training.recent import RECENT
from okml.video_workshop.common.content import SENTENCE_MODEL, TFIDF_WIDTH
from okml.video_workshop.goals.actor_critics import AUXILIARY
from okml.video_workshop.goals.experiments.top_k import arms as reinforce_arms
from okml.video_workshop.goals.simulator import ORACLES
from okml.video_workshop.items.arms import last_item_jobs, new_item_jobs
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.data import WatchLogSettings
from okml.video_workshop.settings.goals import PolicyNetworkSettings, RankerSettings
from okml.video_workshop.settings.items import ItemsSettings, LeaveOneOutSettings
from okml.video_workshop.settings.stream import SessionSettings, WeeklySettings
from okml.video_workshop.settings.users import UserModelSettings
from okml.video_workshop.stream import arms as stream
from okml.video_workshop.users import arms as users

# Counts of the logs' files; those of MicroLens are rounded in the publications.
SIZES = LOGS | {
    "ader_diginetica": LogSize(993_483, 43_136, 204_789, days=17),
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
REQUESTS = 3.3  # a user makes so many a day on average, those who stay away included; counted
DAY_SECONDS = 9e-5  # a user's day in the simulator, on one core
LOADING_BYTES = 240  # an event takes them while a log is read, sorted and numbered
# What processes of the simulator hold, by the runs of `cpu` and `night`, two of them workers: their
# roll-outs and scores, tables of users and items of each world, and a request of each kept log.
SIMULATING_BYTES, WORLD_TABLES, REQUEST_BYTES = 0.53 * GIB, 6, 212


class Training(NamedTuple):
    """Trainings of equal cost."""

    what: str
    steps: int  # steps of each training
    positions: int  # positions of each step
    flops: float  # FLOPs of the forward pass of a position
    checkpoint: int = 0  # bytes of the checkpoints of each training


class Ranking(NamedTuple):
    """Rankings of equal cost."""

    what: str
    rows: int  # rows of each ranking
    forward: float  # FLOPs of the history of a row
    scores: int  # number of items that a row is scored against
    width: int  # dimension of the vectors
    autocast: bool = False  # whether histories are read in the precision of the training


Works = Iterator[tuple[Training | Ranking, int]]  # each with the number of those that cost the same


def plan(profile: VideoWorkshopProfile) -> Plan:
    """Return parameters, memory, disk, data and hours of a run, with their derivation."""
    trainings: Counter[Training] = Counter()
    rankings: Counter[Ranking] = Counter()
    for theme in (_users, _items, _streams, _goals):
        for work, count in theme(profile):
            if isinstance(work, Training):
                trainings[work] += count
            else:
                rankings[work] += count
    stored = Item.gib(
        "checkpoints on disk", sum(work.checkpoint * n for work, n in trainings.items()),
        "12 bytes a parameter with Adam's moments, 4 if frozen",
    )  # fmt: skip
    encoded = any(data.text == "minilm" and not data.features for data in _data(profile))
    read = (*profile.logs, *((SENTENCE_MODEL,) if encoded else ()))
    return Plan.of(
        profile,
        hours=[
            *(_training_hours(profile, *each) for each in trainings.items()),
            _rollouts(profile),
            *(_ranking_hours(profile, *each) for each in rankings.items()),
        ],
        device=[*_memory(profile)],
        beside=[_host_memory(profile)],
        disk=[
            downloads(name for name in read if name in catalog()),
            _files(profile),
            stored.bounded(profile.data.least_item_events is not None),
        ],
        data=read,
        jobs=trainings.total(),
    )


def item_bound(data: WatchLogSettings) -> int:
    """Return an upper bound of the number of items after the log's filter.

    Every item of a log has an event, those that the filter drops included.
    """
    size, least = SIZES[data.log], data.least_item_events or 1
    return size.items if least == 1 else min(size.items, (size.events - size.items) // (least - 1))


def users_of(data: WatchLogSettings) -> int:
    """Return the number of users of the part that is read."""
    return data.users or SIZES[data.log].users


def events_of(data: WatchLogSettings) -> float:
    """Return the expected number of events of the log's part that is read."""
    size = SIZES[data.log]
    return size.events * users_of(data) / size.users


def events_before(data: WatchLogSettings, days: float) -> float:
    """Return the expected number of events of the first days."""
    last = SIZES[data.log].days
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


def _ranking(
    what: str, rows: float, model: UserModelSettings, items: int, *, autocast: bool = False
) -> Ranking:
    """Return rankings in which a user model reads a whole history for each row."""
    forward = model.length * _blocks(model)
    return Ranking(what, math.ceil(rows), forward, items, model.width, autocast)


def _users(profile: VideoWorkshopProfile) -> Works:
    """Yield the trainings of user models and of recommenders, and rankings by the latter."""
    settings, chosen, data = profile.users, profile.users.downstream, profile.data
    items, people = item_bound(data), users_of(data)
    jobs = users.all_jobs(profile)
    needs = [need for job in jobs for need in users.needs_of(job)]
    for arm in (job.what for job in dict.fromkeys([*jobs, *needs])):
        base = arm if isinstance(arm, users.Base) else arm.base
        how, model = base.pretraining, base.model
        position, weights = flops(model, how.loss, items), parameters(model, items)
        if isinstance(arm, users.Base):
            further = 2 if how.weights.multi else 0  # softmaxes of the items two and three ahead
            position += further * 2.0 * model.width * _classes(how.loss, items)
            yield Training(f"pre-training, d = {model.width}", how.steps, how.batch * model.length,
                           position, 12 * weights), 1  # fmt: skip
            continue
        steps = chosen.steps if arm.share < 1 else chosen.steps_all_labels
        steps += how.steps if arm.mode == "scratch" else 0
        # Two checkpoints: the last, and the best in validation.
        yield Training(f"recommenders, {arm.mode}, d = {model.width}", steps,
                       chosen.batch * model.length, position,
                       2 * (4 if arm.mode == "frozen" else 12) * weights), 1  # fmt: skip
        rows = min(settings.valid_users, math.ceil(arm.share * people)) * settings.valid_rows
        validations = math.ceil(steps / chosen.evaluate_every)
        yield _of_recommender("validations", arm, rows, items, autocast=True), validations
    rows = min(TEST_USERS.get(data.log, people), people) * settings.test_rows
    for table in (users.reuse_rows, users.size_rows, users.ablation_rows):
        for row in table(profile):  # some are in several tables, and tested each time anew
            assert isinstance(row.job.what, users.UserArm)
            # In a test, retrieval also scores all items as related ones.
            yield _of_recommender("tests", row.job.what, rows, 2 * items), 1


def _of_recommender(
    what: str, arm: users.UserArm, rows: int, items: int, *, autocast: bool = False
) -> Ranking:
    """Return rankings by a recommender: retrieval scores items, and ranking the target alone."""
    model, retrieval = arm.base.model, arm.task == "retrieval"
    what = f"{what} of {arm.task}, d = {model.width}"
    return _ranking(
        what, rows * (LIKED if retrieval else 1), model, items * retrieval, autocast=autocast
    )


def _items(profile: VideoWorkshopProfile) -> Works:
    """Yield the trainings of item representations; all arms cost about as much as ``id``.

    On last items an epoch has one window for each user, and the cost is that of a softmax over all
    items, which exceeds one over the batch's targets.
    """
    data, settings = profile.cold_data or profile.data, profile.items
    last, items = settings.leave_one_out, item_bound(data)
    people, events = users_of(data), events_of(data)
    windows = max(people, math.ceil(events / settings.model.length))  # one a user or more
    cold = settings.held_out * settings.test_share * events
    warm = settings.test_share * events - cold
    tested = cold + min(settings.warm_targets or warm, warm)
    new, of_all = len(new_item_jobs(profile)), len(last_item_jobs(profile))
    yield _over_epochs("item representations", settings, windows, items), new
    yield _over_epochs("everybody's last item", last, people, items), of_all
    yield _ranking("tests of item representations", tested, settings.model, items), new
    ranked = "rankings of everybody's last item"
    yield _ranking(ranked, people, last.model, items), of_all * (last.epochs + 1)


def _over_epochs(
    what: str, how: ItemsSettings | LeaveOneOutSettings, windows: int, items: int
) -> Training:
    steps, model = how.epochs * math.ceil(windows / how.batch), how.model
    return Training(what, steps, how.batch * model.length, flops(model, how.loss, items),
                    12 * parameters(model, items))  # fmt: skip


class PlannedStream(NamedTuple):
    """A stream of periods, and the runs over it."""

    what: str
    settings: WeeklySettings | SessionSettings
    jobs: Collection[stream.StreamJob]
    items: int
    first: int  # number of the first served period
    periods: int  # number of all periods
    before: float  # windows of a period before the first served one
    windows: float  # windows of a served period
    rows: float  # rows that a run ranks, in all served periods


def _streams(profile: VideoWorkshopProfile) -> Works:
    """Yield the trainings on streams, and the rankings of all served periods.

    On the chapter's log, requests of launched items are ranked besides the drawn ones.
    """
    weekly, data, jobs = profile.stream.weekly, profile.data, stream.all_jobs(profile)
    launches, choice, length = weekly.launches, weekly.choice, weekly.training.model.length
    periods = max(math.ceil(SIZES[data.log].days / weekly.days), weekly.first + 1)
    early = events_before(data, weekly.first * weekly.days)
    # Events of a period before the first served one, and from it on.
    before, events = early / weekly.first, (events_of(data) - early) / (periods - weekly.first)
    span = launches.last - launches.first + 1
    launched = launches.share * events * sum(
        min((period - launches.first + 1) / span, 1) for period in range(launches.first, periods)
    )  # fmt: skip
    tried = {trial for job in jobs for trial in stream.choice_jobs(profile, job.arm)}
    served = [*jobs, *(trial for trial in tried if not trial.early)]
    mine = [job for job in served if job.arm.log is None]
    yield from _prequential(PlannedStream(
        "stream", weekly, mine, item_bound(data), first=weekly.first, periods=periods,
        before=before / length, windows=events / length,
        rows=(periods - weekly.first) * min(weekly.rows, events) + launched,
    ))  # fmt: skip
    early_trials = [trial for trial in tried if trial.early]
    yield from _prequential(PlannedStream(
        "choice of rates", weekly, early_trials, item_bound(data),
        first=weekly.first - choice.periods, periods=weekly.first,
        before=before / length, windows=choice.users * (before / length),
        rows=choice.periods * min(weekly.rows, choice.users * before),
    ))  # fmt: skip
    for number, shop in enumerate(profile.stream.sessions):
        size = SIZES[shop.log]
        # A session takes one window, which is mostly padding.
        daily = size.users / size.days
        sessions = shop.sessions or daily
        clicks = min(shop.rows, min(sessions / daily, 1) * size.events / size.days)
        yield from _prequential(PlannedStream(
            shop.log, shop, [job for job in served if job.arm.log == number],
            shop.items or size.items, first=1, periods=shop.periods,
            before=sessions, windows=sessions, rows=(shop.periods - 1) * clicks,
        ))  # fmt: skip


def _prequential(run: PlannedStream) -> Works:
    """Yield the trainings and rankings of a stream whose periods are served one by one."""
    training, strategies = run.settings.training, run.settings.strategies
    model, served = training.model, run.periods - run.first
    counts = Counter(job.arm.strategy for job in run.jobs)
    bases = len({(job.arm.table, job.seed) for job in run.jobs})
    # Events that an update reads, for each new one. Exemplars come in few large batches: all old
    # ones took about two plain updates more, measured.
    old = strategies.replay_ratio
    read = {"stale": 0, "retrain": 0, "replay": 1 + old, "repeat": 1 + old, "distillation": 2,
            "distillation_all": 3}  # fmt: skip
    updates = round(sum(count * read.get(name, 1) for name, count in counts.items()))
    retrainings = counts["retrain"] * (served // strategies.retrain_every)
    start, epochs = run.first * run.before, training.base_epochs
    for what, count, seen, batch, stored in (
        ("bases", bases, epochs * start, training.batch, 12 * parameters(model, run.items)),
        ("updates of all periods", updates, training.update_epochs * (served * run.windows),
         training.update_batch, 0),
        ("retrainings", retrainings, epochs * (start + served * run.windows / 2),
         training.batch, 0),
    ):  # fmt: skip
        yield Training(f"{run.what}: {what}", math.ceil(seen / batch), batch * model.length,
                       flops(model, training.loss, run.items), stored), count  # fmt: skip
    yield _ranking(f"{run.what}: rankings", run.rows, model, run.items), len(run.jobs)


def _goals(profile: VideoWorkshopProfile) -> Works:
    """Yield the trainings on impressions, without the cost of importance weights."""
    goals, worlds, rated = profile.goals, len(profile.worlds), profile.world_data or profile.data
    simulator, traffic, real = goals.simulator, goals.traffic, profile.traffic_data
    reinforce, constrained = goals.reinforce.network, goals.constrained.network
    # Requests and items of the simulator, and of usual traffic, which may be a log's.
    daily, items = REQUESTS * users_of(rated), item_bound(rated)
    shown, requests, runs, offered = simulator.slate, daily, worlds, items
    if real is not None:
        size = SIZES[real.log]
        shown, requests = 1, size.events / size.days
        runs, offered = len(profile.seeds), size.items
    logged, train = daily * simulator.log_days, requests * traffic.train_days
    heads = goals.ranker.heads
    ranker = 2 * heads.experts * 4 * goals.ranker.width * heads.expert_width
    nets = len({*goals.click_models} - {"popularity", "regression"}) + len(goals.several_goals) + 1
    yield _epochs("rankers", goals.ranker, logged, simulator.slate, ranker), worlds * nets
    policies = len(reinforce_arms(simulator.slate))
    policy = 2 * reinforce.width * items
    yield _epochs("policies of REINFORCE", reinforce, logged, 1, policy), worlds * policies
    # Besides, stage 1 of TSCAC has a policy of likes, and critics are trained twice: those of all
    # responses at once, and RCPO's. Each of these trainings costs about as much as an actor.
    actors = _methods(profile) + 3
    seen = daily * goals.constrained.log_days
    actor = 2 * constrained.width
    yield _epochs("actor-critics", constrained, seen, 1, actor * items), worlds * actors
    usual = "actor-critics on usual traffic"
    yield _epochs(usual, constrained, train, 1, actor * offered), runs * actors
    nets = len(traffic.click_models) + len(traffic.several_goals)
    yield _epochs("rankers on usual traffic", goals.ranker, train, shown, ranker), runs * nets


def _epochs(
    what: str, how: RankerSettings | PolicyNetworkSettings, seen: float, shown: int, position: int
) -> Training:
    """Return trainings whose epochs have ``seen`` requests, each with some shown items."""
    return Training(what, math.ceil(how.epochs * seen / how.batch), how.batch * shown, position)


def _methods(profile: VideoWorkshopProfile) -> int:
    """Return the number of policies that are trained and rolled out.

    They are cloning, three actor-critics, RCPO, AWR and TSCAC with each multiplier, and TSCAC
    without one of its constraints.
    """
    return 5 + 2 * len(profile.goals.constrained.multipliers) + len(AUXILIARY)


def _rollouts(profile: VideoWorkshopProfile) -> Item:
    """Return the hours of roll-outs, which run on the CPU."""
    goals, simulator = profile.goals, profile.goals.simulator
    people = users_of(profile.world_data or profile.data)
    served = len(goals.click_models) + len(goals.several_goals) + 1
    policies, methods = len(reinforce_arms(simulator.slate)), _methods(profile)
    of_world = (
        served * simulator.days + simulator.outcome_days + simulator.log_days
        + policies * goals.reinforce.network.days
        + (methods + 2) * goals.constrained.network.days  # two of them serve tireless users, too
        + goals.constrained.log_days + 3 * goals.held_out_days
        + (goals.traffic.days if profile.traffic_data is None else 0)
    )  # fmt: skip
    days = len(profile.worlds) * of_world + goals.oracle_worlds * len(ORACLES) * simulator.days
    return Item.hours(
        "roll-outs of the simulator",
        days * people * DAY_SECONDS,
        f"{days:,} days · {people:,} users · {1e6 * DAY_SECONDS:g} microseconds",
    )


def _training_hours(profile: VideoWorkshopProfile, work: Training, count: int) -> Item:
    rate = GPU_FLOPS[profile.mixed_precision] if profile.for_gpu else CPU_FLOPS
    step = GPU_STEP_SECONDS if profile.for_gpu else CPU_STEP_SECONDS
    return Item.hours(
        work.what,
        count * work.steps * (PASSES * work.positions * work.flops / rate + step),
        f"{count} trainings · {work.steps:,} steps · ({PASSES} · "
        f"{work.positions:,} positions · {work.flops / 1e6:.2f} MFLOP at {rate / 1e12:g} TFLOP/s "
        f"+ {1000 * step:g} ms)",
    )


def _ranking_hours(profile: VideoWorkshopProfile, work: Ranking, count: int) -> Item:
    """Return the hours of forward passes and scores; a score is a product, and a comparison."""
    exact = GPU_FLOPS["no"] if profile.for_gpu else CPU_FLOPS
    rate = GPU_FLOPS[profile.mixed_precision] if profile.for_gpu and work.autocast else exact
    score = 2 * work.width / exact + (GPU_SCORE_SECONDS if profile.for_gpu else CPU_SCORE_SECONDS)
    return Item.hours(
        work.what,
        count * work.rows * (work.forward / rate + work.scores * score),
        f"{count} rankings · {work.rows:,} rows · ({work.forward / 1e6:.2f} MFLOP at "
        f"{rate / 1e12:g} TFLOP/s + {work.scores:,} scores · {1e9 * score:.3g} ns)",
    )


def _data(profile: VideoWorkshopProfile) -> tuple[WatchLogSettings, ...]:
    found = (profile.data, profile.cold_data, profile.world_data, profile.traffic_data)
    return tuple(dict.fromkeys(data for data in found if data is not None))


def _host_memory(profile: VideoWorkshopProfile) -> Item:
    """Return what processes hold beside trainings: a log while it is read, and the simulator."""
    goals, worlds = profile.goals, len(profile.worlds)
    rated, simulator = profile.world_data or profile.data, goals.simulator
    users, items = users_of(rated), SIZES[rated.log].items
    days = worlds * (simulator.outcome_days + simulator.log_days + goals.held_out_days)
    return Item.sum(
        "the largest log while it is read, and the simulator",
        events=LOADING_BYTES * max(SIZES[log].events for log in profile.logs),
        worlds=8 * WORLD_TABLES * users * items * (worlds + goals.oracle_worlds),
        their_logs=REQUEST_BYTES * days * users * REQUESTS,
        processes=SIMULATING_BYTES * (1 + CPU_WORKERS),
    )


def _memory(profile: VideoWorkshopProfile) -> Iterator[Item]:
    """Yield the memory of the largest training, of a user model, and of a ranking."""
    settings, how = profile.users, profile.users.pretraining
    model, items = settings.base, item_bound(profile.data)
    numbers = parameters(model, items)
    weights = f"{items:,} items · {model.width} + blocks = {numbers:,}"
    yield Item.gib("weights, gradients and Adam of the largest training", 16 * numbers,
                 f"16 bytes · ({weights})")  # fmt: skip
    if settings.table in ("content", "hybrid_content"):
        read = [FEATURE_BYTES[name] // 4 for name in profile.data.features]
        width = sum(read or [TEXT_WIDTHS[profile.data.text]])
        yield Item.product("features of content", bytes=4, items=items, numbers=width)
    kept = f"{RECENT} user models, {RECENT} recommenders · 4 bytes · {numbers:,}"
    yield Item.gib("the latest finished trainings", 2 * RECENT * 4 * numbers, kept)
    yield Item.product(
        "activations of a step", tokens=max(how.batch, settings.downstream.batch) * model.length,
        numbers=ACTIVATIONS, layers=model.layers, units_of_width=model.width,
        bytes=2 if profile.mixed_precision == "bf16" else 4,
    )  # fmt: skip
    matrix = {"bytes": 4, "positions": how.batch * model.length, "items": _classes(how.loss, items)}
    if isinstance(how.loss, ChunkedSoftmaxSettings):
        matrix = {"bytes_of_a_chunk": how.loss.chunk_bytes}
    softmaxes = 3 if how.weights.multi else 1
    yield Item.product("scores of a step", matrices=3, softmaxes=softmaxes, **matrix)
    most = max(item_bound(data) for data in _data(profile))
    rows = profile.evaluation_batch
    yield Item.product("scores of a ranking", matrices=2, bytes=4, rows=rows, items=most)


def _files(profile: VideoWorkshopProfile) -> Item:
    """Return the size of files outside the catalog's archives: unpacked logs, and MicroLens."""
    found = {
        data.log: UNPACKED.get(data.log, 0)
        + SIZES[data.log].items * sum(FEATURE_BYTES[name] for name in data.features)
        for data in _data(profile)
    }
    told = ", ".join(f"{log} {size / GIB:.2f}" for log, size in found.items() if size)
    what = "unpacked logs and released vectors"
    return Item.gib(what, sum(found.values()), told or "none", in_data_folder=True)
