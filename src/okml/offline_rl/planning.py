"""The plan of a run of the chapter, from sizes and counts alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from okml.offline_rl.actor import token_flops
from okml.offline_rl.arms import ARMS, STAGE1, AnyJob, Arm, CriticJob, all_jobs
from okml.offline_rl.settings import LogSettings, OfflineRLProfile
from okml.offline_rl.simulator import ITEMS
from okml.offline_rl.study import Study
from okml.offline_rl.trainer import stage_of
from okml.plan import (
    ACTIVATIONS,
    CPU_WORKERS,
    LOGS,
    PASSES,
    Item,
    LogSize,
    Plan,
    downloads,
    reading,
    training_memory,
)
from okml.training.ahead import Trains, with_needs

TRAINED = 0.8  # a split by user trains on this share of them
# MovieLens-100K was counted under `cpu`, MovieLens-1M under `night`; MovieLens-25M has GroupLens's
# counts, Yoochoose those of the SQN papers for their sample of 200,000 sessions.
SIZES = {
    "ml_100k": LOGS["ml_100k"]._replace(kept=77_938, items=939, rows=1_558, tests=1_833),
    "ml_1m": LOGS["ml_1m"]._replace(kept=589_152, items=3_587, rows=3_600, tests=3_600),
    "ml_25m": LOGS["ml_25m"]._replace(kept=25_000_095, rows=330_000, tests=162_541),
    "yoochoose": LogSize(
        34_154_697, 26_702, kept=1_154_911, rows=160_000, tests=95_000, exact=False
    ),
}

EVENTS_OF_A_VISITOR = 10  # a simulated visitor makes about so many under the log's policy
# Assumed sustained floating-point operations per second.
GPU_FLOPS = {"bf16": 200e12, "no": 30e12}  # one H100, a fifth of its peak in bf16
GPU_MEANS_FLOPS = 80e12  # products in TF32, for means of Q
CPU_FLOPS = 0.1e12  # two cores with one training each
CPU_RANKING_FLOPS = 0.025e12
GPU_STEP = 0.02  # seconds that the loop of a step takes at least on a GPU: an assumption
# Seconds of a core beside the products, by the records of `cpu` and `night`: for a step, what an
# LSTM's steps or Caser's convolutions add to it, and for the softmax of each score.
CPU_STEP, CPU_STEP_MORE, CPU_SCORE = 0.005, 0.005, 2.2e-9
LOADING_BYTES = 180  # bytes for each event while a log is read, sorted and split

Kind = tuple[LogSettings, Arm, int]  # log, arm and epochs of trainings with equal costs


def size_of(data: LogSettings) -> LogSize:
    """Return the size of a log, or of one to be simulated."""
    if data.is_real:
        return SIZES[data.log]
    users = data.users or 0
    events = EVENTS_OF_A_VISITOR * users
    rows, tests = round(TRAINED * users), users // 10 * 4
    return LogSize(events, ITEMS, kept=events, rows=rows, tests=tests, exact=False)


def plan(profile: OfflineRLProfile) -> Plan:
    """Return parameters, memory, disk, data and hours of a run, with their formulas."""
    logs = profile.datasets
    study: Trains[AnyJob] = Study(profile, Path())  # nothing of it is read or trained
    jobs = with_needs(study, all_jobs(profile))
    trainings = _trainings(profile, jobs)
    hours = [
        _hours(profile, data, arm.label, _cost(profile, data, arm), count * epochs,
               f"{count} trainings · {epochs} epochs")
        for (data, arm, epochs), count in trainings.items()
    ]  # fmt: skip
    hours += [_fits(profile, data, jobs) for data in (*logs, profile.funnel)]
    hours.append(_ranking(profile, trainings))
    actor, critics = max((_parameters(data) for data in logs), key=sum)
    actors = 2 if any(arm.changes.get("dealt") for _, arm, _ in trainings) else 1
    memory = training_memory(
        actors * actor + critics,
        copies=5,  # each has a target network, too
        finished=2 * actor + critics,  # both steps end with an actor
        chunk=profile.chunk_bytes,
        scores=4 * max(size_of(data).items * _positions(profile, data) for data in logs),
    )
    vectors = max(size_of(data).items * data.actor.width for data in logs)
    gradient = Item.product("the gradient of the item vectors", bytes=8, numbers=vectors)
    stored = 0  # numbers of a checkpoint: with moments, and with the critics' target network
    for (data, arm, _), count in trainings.items():
        actor, critics = _parameters(data)
        actors = 2 if arm.changes.get("dealt") else 1
        stored += count * (3 * actors * actor + (4 * critics if arm.method == "crr" else 0))
    checkpoints = Item.product("checkpoints on disk", checkpoints=2, bytes=4, numbers=stored)
    names = [data.log for data in logs]
    processes = 1 if profile.for_gpu else 1 + CPU_WORKERS  # each reads the log
    return Plan.of(
        profile,
        sizes=[_log(data) for data in logs],
        hours=hours,
        device=[*memory, gradient, _activations(profile)],
        beside=[reading(max(size_of(data).events for data in logs), LOADING_BYTES, processes)],
        disk=[downloads(names), checkpoints],
        data=names,
        jobs=len(jobs),
    )


def _trainings(profile: OfflineRLProfile, jobs: Iterable[AnyJob]) -> Counter[Kind]:
    """Return the largest number of trainings of each kind.

    A search trains at each rate with every seed, and beyond an end at as many rates as it may.
    """
    found: Counter[Kind] = Counter()
    for job in jobs:
        if isinstance(job, CriticJob):
            continue
        data = job.data.model_copy(update={"tie_rule": "file"})  # the order of ties costs nothing
        epochs = stage_of(data, ARMS[job.arm], job.stage1_epochs, 1.0).epochs
        found[data, ARMS[job.arm], epochs] += _count(profile, job)
    return found


def _count(profile: OfflineRLProfile, job: AnyJob) -> int:
    """Return the largest number of trainings that a job adds to those of other jobs."""
    chooser = job.chooser(profile)
    if job != chooser:
        # Its search trained with this seed, too.
        return int(job != replace(chooser, seed=job.seed))
    if isinstance(job, CriticJob):
        further = profile.further_rates * len(job.copies_to_try(profile))
    else:
        further = job.further_rates(profile)
    return further * len(profile.seeds)


class Cost(NamedTuple):
    """What one position of training takes.

    Encoder, scores of the catalog and critics count three times (forward and backward), the target
    critics once.
    """

    flops: float  # the operations without means of Q
    means: float  # the operations of means of Q
    scores: int  # the number of items that the position has scores of
    slow: bool  # whether a step has an LSTM or convolutions


def _cost(profile: OfflineRLProfile, data: LogSettings, arm: Arm) -> Cost:
    """Return the cost of a position in the training of an arm on a log."""
    items = 2 if arm.loss == "binary" else size_of(data).items  # a target and a negative
    width, body = data.actor.width + 1, token_flops(data.actor, data.length)
    if arm.model == "sasrec":
        width, body = data.sasrec_width, 2 * 2 * 6 * data.sasrec_width**2
    elif arm.model == "caser":
        width = data.caser_width + 1
        body = 2 * (16 * 5 + 4 * data.caser_width + 16 * 15) * data.caser_width
    forward = body + 2 * items * width
    if arm.method != "crr":
        return Cost(PASSES * forward, 0, items, slow=arm.model == "caser")
    crr, critic = profile.variant(arm.changes), data.critic
    actors = 2 if crr.dealt else 1
    lstm = 2 * (4 * (critic.width + critic.hidden) * critic.hidden + critic.hidden * critic.width)
    flops = actors * PASSES * forward + critic.count * (PASSES + 1) * lstm
    tables = 2 if crr.next_action == "online" else 1
    if crr.next_action == "target":
        flops += forward
        tables += 1
    means = 2 * items * tables * critic.count * (critic.width + 2)
    return Cost(flops, means, actors * items, slow=True)


def _fits(profile: OfflineRLProfile, data: LogSettings, jobs: Iterable[AnyJob]) -> Item:
    """Return the hours of the fits of critics for the frozen actors of a log.

    A step costs as one of CRR without the actor's backward pass. Regression on returns reads no
    catalog and is left out.
    """
    own = [job for job in jobs if isinstance(job, CriticJob) and job.data == data]
    count = sum(_count(profile, job) for job in own if not job.on_returns)
    cost, actor = (_cost(profile, data, ARMS[name]) for name in ("crr", STAGE1))
    cost = cost._replace(flops=cost.flops - 2 / PASSES * actor.flops)
    epochs = data.fit_epochs
    told = f"{count} fits · at most {epochs} epochs"
    # All windows of a history are read; two tenths of the users, who choose and judge, are less.
    whole = data.model_copy(update={"windows_per_user": None})
    return _hours(profile, whole, "fits of critics", cost, count * epochs, told)


def _hours(
    profile: OfflineRLProfile, data: LogSettings, what: str, cost: Cost, epochs: int, told: str
) -> Item:
    """Return the hours of trainings of so many epochs together; ``told`` is how many in words."""
    size = size_of(data)
    positions = size.rows * data.length  # targets of an epoch, at most
    if data.windows_per_user is None:
        positions = round(size.kept * (TRAINED if data.split == "user_holdout" else 1))
    rate = GPU_FLOPS[profile.mixed_precision] if profile.for_gpu else CPU_FLOPS
    means_rate = GPU_MEANS_FLOPS if profile.for_gpu else CPU_FLOPS
    seconds = epochs * positions * (cost.flops / rate + cost.means / means_rate)
    windows = max(size.rows, -(-positions // data.length))
    steps = epochs * -(-windows // data.stage2.batch)
    if profile.for_gpu:
        seconds = max(seconds, steps * GPU_STEP)
        beside = f", at least {steps:,} steps · {1000 * GPU_STEP:g} ms"
    else:
        step = CPU_STEP + (CPU_STEP_MORE if cost.slow else 0.0)
        seconds += (steps * step + epochs * positions * cost.scores * CPU_SCORE) / CPU_WORKERS
        beside = (
            f" + ({steps:,} steps · {1000 * step:g} ms + {cost.scores:,} scores of a position · "
            f"{1e9 * CPU_SCORE:g} ns) / {CPU_WORKERS} cores"
        )
    return Item.hours(
        f"{data.log}: {what}",
        seconds,
        f"{told} · {positions:,} positions · "
        f"({cost.flops / 1e6:.2f} MFLOP at {rate / 1e12:g} TFLOP/s + {cost.means / 1e6:.2f} at "
        f"{means_rate / 1e12:g}){beside}",
    )


def _ranking(profile: OfflineRLProfile, trainings: Counter[Kind]) -> Item:
    """Return the hours of three rankings of the test for each training, in float32.

    They are by the best weights with both rules on seen items, and by the last weights.
    """
    rate = GPU_FLOPS["no"] if profile.for_gpu else CPU_RANKING_FLOPS
    total = 0.0
    for (data, _, _), count in trainings.items():
        size = size_of(data)
        row = data.length * token_flops(data.actor, data.length) + 2 * size.items * data.actor.width
        total += 3 * count * size.tests * row
    return Item.hours(
        "rankings of the tests",
        total / rate,
        f"3 · {trainings.total()} trainings; a row reads a whole state and "
        f"scores all items, at {rate / 1e12:g} TFLOP/s",
    )


def _log(data: LogSettings) -> Item:
    size = size_of(data)
    why = f"{size.events:,} in the files, {size.items:,} items"
    unit = "events" if size.exact else "events, about"
    return Item.number(f"events of {data.log} under the protocol", size.kept, why, unit)


def _parameters(data: LogSettings) -> tuple[int, int]:
    """Return the parameters of the actor and of all critics."""
    items, actor, critic = size_of(data).items, data.actor, data.critic
    blocks = 12 * actor.layers * actor.width**2 + data.length * actor.width
    lstm = 4 * (critic.width + critic.hidden + 2) * critic.hidden + critic.hidden * critic.width
    return items * (actor.width + 1) + blocks, critic.count * (2 * items * critic.width + lstm)


def _tokens(data: LogSettings) -> int:
    """Return the positions of the largest batch."""
    return max(data.stage1.batch, data.stage2.batch) * data.length


def _positions(profile: OfflineRLProfile, data: LogSettings) -> int:
    """Return the largest number of positions whose items are scored at a time."""
    return max(_tokens(data), data.baseline.batch * data.length, profile.evaluation_batch)


def _activations(profile: OfflineRLProfile) -> Item:
    """Return a bound of a step's activations, with those of the critics."""

    def numbers(data: LogSettings) -> int:
        of_critics = 12 * data.critic.count * data.critic.hidden
        return _tokens(data) * (ACTIVATIONS * data.actor.layers * data.actor.width + of_critics)

    largest = max((*profile.datasets, profile.funnel), key=numbers)
    width = 2 if profile.mixed_precision == "bf16" else 4
    return Item.gib(
        "activations of a step",
        width * numbers(largest),
        f"{_tokens(largest):,} tokens · ({ACTIVATIONS} · {largest.actor.layers} · "
        f"{largest.actor.width} + critics) · {width} bytes",
    )
