"""The runs over streams, by the tables that show them: a recommender, and what updates it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from okml.video_workshop.items.arms import LABELS as TABLE_LABELS
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.stream import ContentTableName, NewRows, StrategyName

Model = Literal["user_model", "factorization", "expiring", ContentTableName]
CONTENT_TABLES: tuple[ContentTableName, ...] = get_args(ContentTableName)
LABELS: dict[StrategyName, str] = {
    "stale": "left alone",
    "incremental": "updated",
    "no_dropout": "updated, no dropout",
    "replay": "updated, with replay",
    "rehearsal": "old events again",
    "distillation": "updated, with distillation",
    "distillation_all": "updated, distillation on all past",
    "labels_all": "updated, labels of all past",
    "ewc": "updated, elastic weights",
    "retrain": "retrained",
    "retrain_short": "retrained, steps of an update",
}
FIRST_ROWS: dict[NewRows, str] = {
    "random": "random", "mean_noise": "the mean", "content_knn": "like content",
}  # fmt: skip
LONG: tuple[StrategyName, ...] = ("retrain", "distillation", "distillation_all", "labels_all")


@dataclass(frozen=True)
class Arm:
    """The configuration of one recommender on one stream.

    Attributes:
        strategy: Name of the update strategy.
        model: Name of the recommender.
        new_rows: Initialization of the rows of appearing items; None: the one of the table.
        shards: Updates per period.
        batch: Windows per step of an update; None: the value of the settings.
        shock: Whether the stream has the simulated shift of taste.
        log: Number of a session log; None: the chapter's log.
    """

    strategy: StrategyName
    model: Model = "user_model"
    new_rows: NewRows | None = None
    shards: float = 1.0
    batch: int | None = None
    shock: bool = False
    log: int | None = None

    @property
    def name(self) -> str:
        """Unique among the arms of a log."""
        parts: list[str] = [self.strategy]
        if self.model != "user_model":
            parts.append(self.model)
        if self.new_rows is not None:
            parts.append(self.new_rows)
        if self.shards != 1:
            parts.append(f"{self.shards:g} a period")
        if self.batch is not None:
            parts.append(f"{self.batch} a step")
        if self.shock:
            parts.append("shock")
        return " ".join(parts)


@dataclass(frozen=True)
class Job:
    """A prequential run of an arm, or the training of the base model that it starts from."""

    arm: Arm
    seed: int
    base: bool = False


STALE, UPDATED, OLD_EVENTS, RETRAINED = (
    Arm("stale"), Arm("incremental"), Arm("rehearsal"), Arm("retrain"),
)  # fmt: skip

STALE_ROWS, UPDATED_ROWS = (Arm(name, model="factorization") for name in ("stale", "incremental"))
STALE_SHOCK, UPDATED_SHOCK, RETRAINED_SHOCK = (
    Arm(name, shock=True) for name in ("stale", "incremental", "retrain")
)

EXPIRING = Arm("incremental", model="expiring")


def freshness_jobs(profile: VideoWorkshopProfile) -> list[Job]:
    """Return the strategies on the chapter's log; factorization and some others with one seed."""
    weekly, seeds = profile.stream.weekly, profile.seeds
    jobs = [Job(Arm(name), seed) for name in weekly.arms for seed in seeds]
    jobs += [Job(Arm(name), seeds[0]) for name in weekly.more_arms]
    return [*jobs, Job(STALE_ROWS, seeds[0]), Job(UPDATED_ROWS, seeds[0])]


def new_item_jobs(profile: VideoWorkshopProfile) -> list[Job]:
    """Return initial rows of new items, expiring rows, smaller batches, and content tables."""
    seed, weekly = profile.seeds[0], profile.stream.weekly
    arms = [UPDATED, *(Arm("incremental", new_rows=kind) for kind in weekly.new_rows), EXPIRING]
    if (batch := weekly.small_batch) is not None:
        arms.append(Arm("incremental", batch=batch))
    for table in weekly.tables:
        arms += [Arm("stale", model=table), Arm("incremental", model=table)]
        if batch is not None and table == weekly.tables[0]:
            arms.append(Arm("incremental", model=table, batch=batch))
    return [Job(arm, seed) for arm in (STALE, *arms)]


def shock_jobs(profile: VideoWorkshopProfile) -> list[Job]:
    """Return the strategies on the stream with a shift of taste, if the profile has one."""
    if profile.stream.weekly.shock is None:
        return []
    arms = (STALE_SHOCK, UPDATED_SHOCK, RETRAINED_SHOCK)
    return [Job(arm, profile.seeds[0]) for arm in arms]


def shard_jobs(profile: VideoWorkshopProfile) -> list[Job]:
    """Return updates at different intervals, from the fewest to the most, with every seed."""
    return [
        Job(Arm("incremental", shards=number), seed)
        for number in sorted({1.0, *profile.stream.weekly.shards})
        for seed in profile.seeds
    ]


def session_jobs(profile: VideoWorkshopProfile) -> list[Job]:
    """Return ADER's strategies on each log of sessions."""
    seed = profile.seeds[0]
    return [
        Job(Arm(name, log=number), seed)
        for number, settings in enumerate(profile.stream.sessions)
        for name in settings.arms
    ]


def all_jobs(profile: VideoWorkshopProfile) -> list[Job]:
    """Return all runs once, the longest first, without the base models that they need."""
    tables = (freshness_jobs, new_item_jobs, shock_jobs, shard_jobs, session_jobs)
    jobs = dict.fromkeys(job for table in tables for job in table(profile))
    return sorted(jobs, key=lambda job: job.arm.strategy not in LONG)


def label(arm: Arm) -> str:
    """Return the label of an arm in tables and figures."""
    text = LABELS[arm.strategy]
    if arm.model == "factorization":
        text = f"user rows, {text}"
    if arm.model == "expiring":
        text = f"{text}, rows expire"
    if arm.model in CONTENT_TABLES:
        text = f"{TABLE_LABELS[arm.model].partition(',')[0]}, {text}"
    if arm.new_rows is not None:
        text = f"{text}, first rows: {FIRST_ROWS[arm.new_rows]}"
    if arm.batch is not None:
        text = f"{text}, {arm.batch} windows a step"
    return text if arm.shards == 1 else f"{text} {arm.shards:g} times a period"
