"""The runs over streams, by the tables that show them: a user model, and what updates it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from okml.video_workshop.items.arms import LABELS as TABLE_LABELS
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.stream import StrategyName, StreamSettings
from okml.video_workshop.settings.users import UserTable

LABELS: dict[StrategyName, str] = {
    "stale": "left alone",
    "incremental": "updated",
    "replay": "updated, with replay",
    "repeat": "updated, new events again",
    "rehearsal": "old events again",
    "distillation": "updated, with distillation",
    "distillation_all": "updated, with distillation on all old events",
    "retrain": "retrained",
}
LONG: tuple[StrategyName, ...] = ("retrain", "distillation", "distillation_all")
FIXED: tuple[StrategyName, ...] = ("stale", "retrain")  # strategies without updates


@dataclass(frozen=True)
class StreamArm:
    """The configuration of one recommender on one stream.

    Attributes:
        strategy: Name of the update strategy.
        table: Name of the item representation.
        shards: Updates per period.
        shock: Whether the stream has the simulated shift of taste.
        log: Number of a session log; None: the chapter's log.
    """

    strategy: StrategyName
    table: UserTable = "id"
    shards: float = 1.0
    shock: bool = False
    log: int | None = None

    @property
    def name(self) -> str:
        """Unique among the arms of a log."""
        parts: list[str] = [self.strategy]
        if self.table != "id":
            parts.append(self.table)
        if self.shards != 1:
            parts.append(f"{self.shards:g} a period")
        if self.shock:
            parts.append("shock")
        return " ".join(parts)

    @property
    def label(self) -> str:
        """Label in tables and figures."""
        text = LABELS[self.strategy]
        if self.table != "id":
            text = f"{TABLE_LABELS[self.table].partition(',')[0]}, {text}"
        return text if self.shards == 1 else f"{text} {self.shards:g} times a period"


@dataclass(frozen=True)
class StreamJob:
    """A prequential run of an arm, or the training of the base model that it starts from.

    Attributes:
        base: Whether it is the base model.
        early: Whether it ends before the first served period, to choose the rate of updates.
        rate: Factor of the learning rate in the updates of a trial; None: the chosen one.
    """

    arm: StreamArm
    seed: int
    base: bool = False
    early: bool = False
    rate: float | None = None


STALE, UPDATED, OLD_EVENTS, RETRAINED = (
    StreamArm("stale"), StreamArm("incremental"), StreamArm("rehearsal"), StreamArm("retrain"),
)  # fmt: skip
UPDATED_CONTENT, UPDATED_SHUFFLED = (
    StreamArm("incremental", table="hybrid_content"),
    StreamArm("incremental", table="hybrid_shuffled"),
)
STALE_SHOCK, UPDATED_SHOCK = StreamArm("stale", shock=True), StreamArm("incremental", shock=True)


def choice_jobs(profile: VideoWorkshopProfile, arm: StreamArm) -> list[StreamJob]:
    """Return the runs that choose the rate of an arm's updates, before any shock.

    They pass early periods. Where these hold too few updates, they pass the served ones, so that
    the rate is the best in hindsight: on sessions, whose base has one period, and at other
    intervals, the longest of which has a single update in early periods. On sessions the arms with
    the first seed alone have the rate of plain updates.
    """
    rates, seed = update_rates(profile.stream, arm), profile.seeds[0]
    if arm.strategy in FIXED or len(rates) == 1:
        return []
    if arm.log is None:
        tried, early = replace(arm, shock=False), arm.shards == 1
    else:
        of_all_seeds = profile.stream.sessions[arm.log].arms
        tried = arm if arm.strategy in of_all_seeds else replace(arm, strategy="incremental")
        early = False
    return [StreamJob(tried, seed, early=early, rate=rate) for rate in rates]


def update_rates(settings: StreamSettings, arm: StreamArm) -> tuple[float, ...]:
    """Return the factors of the learning rate that are tried in the updates of an arm's stream."""
    if arm.log is None:
        return settings.weekly.choice.rates
    return settings.sessions[arm.log].rates


def freshness_jobs(profile: VideoWorkshopProfile) -> list[StreamJob]:
    """Return the strategies on the chapter's log, some of them with the first seed alone."""
    weekly = profile.stream.weekly
    jobs = _with_every_seed(profile, map(StreamArm, weekly.arms))
    return jobs + [StreamJob(StreamArm(name), profile.seeds[0]) for name in weekly.more_arms]


def new_item_jobs(profile: VideoWorkshopProfile) -> list[StreamJob]:
    """Return updated models whose item vectors are rows, and those whose vectors read content."""
    tables = profile.stream.weekly.tables
    arms = (UPDATED, *(StreamArm("incremental", table=table) for table in tables))
    return _with_every_seed(profile, arms)


def shock_jobs(profile: VideoWorkshopProfile) -> list[StreamJob]:
    """Return the runs over the stream with a shift of taste."""
    return _with_every_seed(profile, (STALE_SHOCK, UPDATED_SHOCK))


def shard_jobs(profile: VideoWorkshopProfile) -> list[StreamJob]:
    """Return updates at different intervals, from the fewest to the most."""
    numbers = sorted({1.0, *profile.stream.weekly.shards})
    return _with_every_seed(
        profile, (StreamArm("incremental", shards=number) for number in numbers)
    )


def session_jobs(profile: VideoWorkshopProfile) -> list[StreamJob]:
    """Return the strategies on each log of sessions, some of them with the first seed alone."""
    jobs = []
    for number, settings in enumerate(profile.stream.sessions):
        jobs += _with_every_seed(profile, (StreamArm(name, log=number) for name in settings.arms))
        jobs += [StreamJob(StreamArm(name, log=number), profile.seeds[0])
                 for name in settings.more_arms]  # fmt: skip
    return jobs


def all_jobs(profile: VideoWorkshopProfile) -> list[StreamJob]:
    """Return all served runs once, the longest first, without what they need."""
    tables = (freshness_jobs, new_item_jobs, shock_jobs, shard_jobs, session_jobs)
    jobs = dict.fromkeys(job for table in tables for job in table(profile))
    return sorted(jobs, key=lambda job: job.arm.strategy not in LONG)


def _with_every_seed(profile: VideoWorkshopProfile, arms: Iterable[StreamArm]) -> list[StreamJob]:
    return [StreamJob(arm, seed) for arm in arms for seed in profile.seeds]
