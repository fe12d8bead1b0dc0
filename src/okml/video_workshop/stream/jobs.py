"""The runs over streams that E6 needs, and their computation."""

from __future__ import annotations

from okml.steps import announced
from okml.video_workshop.stream.arms import Arm
from okml.video_workshop.stream.runs import Job, StreamRuns, run_ahead
from okml.video_workshop.study import Study

STALE, UPDATED, OLD_EVENTS, RETRAINED = (
    Arm("stale"), Arm("incremental"), Arm("rehearsal"), Arm("retrain"),
)  # fmt: skip

STALE_ROWS, UPDATED_ROWS = (Arm(name, model="factorization") for name in ("stale", "incremental"))

STALE_SHOCK, UPDATED_SHOCK, RETRAINED_SHOCK = (
    Arm(name, shock=True) for name in ("stale", "incremental", "retrain")
)

EXPIRING = Arm("incremental", model="expiring")


def freshness_jobs(runs: StreamRuns) -> list[Job]:
    """Return the strategies on the chapter's log; factorization and some others with one seed."""
    weekly, seeds = runs.settings.weekly, runs.study.profile.seeds
    jobs = [Job(Arm(name), seed) for name in weekly.arms for seed in seeds]
    jobs += [Job(Arm(name), seeds[0]) for name in weekly.more_arms]
    return [*jobs, Job(STALE_ROWS, seeds[0]), Job(UPDATED_ROWS, seeds[0])]


def new_item_jobs(runs: StreamRuns) -> list[Job]:
    """Return initial rows of new items, expiring rows, smaller batches, and content tables."""
    seed, weekly = runs.study.profile.seeds[0], runs.settings.weekly
    arms = [UPDATED, *(Arm("incremental", new_rows=kind) for kind in weekly.new_rows), EXPIRING]
    if (batch := weekly.small_batch) is not None:
        arms.append(Arm("incremental", batch=batch))
    for table in weekly.tables:
        arms += [Arm("stale", model=table), Arm("incremental", model=table)]
        if batch is not None and table == weekly.tables[0]:
            arms.append(Arm("incremental", model=table, batch=batch))
    return [Job(arm, seed) for arm in (STALE, *arms)]


def shock_jobs(runs: StreamRuns) -> list[Job]:
    """Return the strategies on the stream with a shift of taste, if the profile has one."""
    if runs.settings.weekly.shock is None:
        return []
    arms = (STALE_SHOCK, UPDATED_SHOCK, RETRAINED_SHOCK)
    return [Job(arm, runs.study.profile.seeds[0]) for arm in arms]


def shard_jobs(runs: StreamRuns) -> list[Job]:
    """Return updates at different intervals, from the fewest to the most, with every seed."""
    return [
        Job(Arm("incremental", shards=number), seed)
        for number in sorted({1.0, *runs.settings.weekly.shards})
        for seed in runs.study.profile.seeds
    ]


def session_jobs(runs: StreamRuns) -> list[Job]:
    """Return ADER's strategies on each log of sessions."""
    seed = runs.study.profile.seeds[0]
    return [
        Job(Arm(name, log=number), seed)
        for number, settings in enumerate(runs.settings.sessions)
        for name in settings.arms
    ]


def started(study: Study) -> StreamRuns:
    """Run all unfinished runs of E6 in parallel, and return them."""
    runs = StreamRuns(study)
    groups = (freshness_jobs, new_item_jobs, shock_jobs, shard_jobs, session_jobs)
    with announced("runs over streams"):
        run_ahead(runs, list(dict.fromkeys(job for group in groups for job in group(runs))))
    return runs
