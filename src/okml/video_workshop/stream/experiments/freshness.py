"""E6: stale, updated and retrained models; intervals of updates; sessions of two shops."""

from __future__ import annotations

import polars as pl

from okml.seqrec.metrics import row_metrics
from okml.steps import StepResult
from okml.video_workshop.stream.arms import LABELS
from okml.video_workshop.stream.experiments.tables import (
    METRIC,
    ages_table,
    compare,
    curves_table,
    strategy_table,
    users_table,
)
from okml.video_workshop.stream.jobs import (
    OLD_EVENTS,
    RETRAINED,
    STALE,
    UPDATED,
    freshness_jobs,
    session_jobs,
    shard_jobs,
    started,
)
from okml.video_workshop.stream.prequential import per_period
from okml.video_workshop.stream.runs import StreamRuns
from okml.video_workshop.study import Study


def measure_freshness(study: Study) -> StepResult:
    """Compare strategies on the periods after the base model: quality, cost, age of items."""
    runs, result = started(study), StepResult()
    world, jobs = runs.world(), freshness_jobs(runs)
    compared = compare(study, runs, world, jobs, world.drawn)
    updated, gained = UPDATED.name, compared.difference(UPDATED.name, STALE.name, METRIC)
    result.measure("incremental_hr10_gain", gained)
    if (old := OLD_EVENTS.name) in compared.arms:
        result.measure("rehearsal_hr10_gain", compared.difference(old, STALE.name, METRIC))
        beyond = compared.difference(updated, old, METRIC)
        result.compare("incremental_hr10_gain", "rehearsal_hr10_gain", beyond)
    if (retrained := RETRAINED.name) in compared.arms:
        # On common seeds, because retraining may have fewer.
        result.measure(
            "incremental_hr10_gain_over_retraining",
            compared.difference(updated, retrained, METRIC),
        )
        for seed in compared.seeds(retrained):
            _log_costs(result, runs, seed)
    result.frames["strategies"] = strategy_table(runs, compared, jobs, STALE.name)
    result.frames["curves"] = curves_table(world, runs, jobs)
    result.frames["ages"] = ages_table(world, runs, jobs)
    result.frames["users"] = users_table(world, runs, jobs)
    return result


def _log_costs(result: StepResult, runs: StreamRuns, seed: int) -> None:
    update, retraining = (runs.passage(arm, seed).effort for arm in (UPDATED, RETRAINED))
    result.log("incremental_cost_ratio", update.samples / retraining.samples, seed=seed)
    result.log("incremental_cpu_ratio", update.seconds / retraining.seconds, seed=seed)


def measure_shards(study: Study) -> StepResult:
    """Compare intervals of updates, Monolith's synchronization intervals."""
    runs, result = started(study), StepResult()
    jobs = shard_jobs(runs)
    compared = compare(study, runs, runs.world(), jobs, runs.world().drawn)
    frame = strategy_table(runs, compared, jobs, UPDATED.name)
    shards = list(dict.fromkeys(job.arm.shards for job in jobs))
    days = [runs.settings.weekly.days / number for number in shards]
    result.frames["shards"] = frame.with_columns(
        pl.Series("updates a period", shards), pl.Series("days between updates", days)
    )
    seldom, often = jobs[0].arm.name, jobs[-1].arm.name
    result.measure("frequent_update_hr10_gain", compared.difference(often, seldom, METRIC))
    return result


def measure_sessions(study: Study) -> StepResult:
    """Run ADER's strategies on its logs: Recall@20 and MRR@20 of each period."""
    runs, result = started(study), StepResult()
    rows = []
    for job in session_jobs(runs):
        assert job.arm.log is not None
        world = runs.world(job.arm.log)
        passage = runs.passage(*job)
        metrics = row_metrics(passage.ranks, (20,))
        periods, recall = per_period(metrics["hr@20"], world.rows, world.stream)
        _, reciprocal = per_period(metrics["mrr@20"], world.rows, world.stream)
        for place, period in enumerate(periods):
            rows.append(
                {
                    "log": runs.settings.sessions[job.arm.log].log,
                    "arm": job.arm.name,
                    "label": LABELS[job.arm.strategy],
                    "period": int(period),
                    "Recall@20": float(recall[place]),
                    "MRR@20": float(reciprocal[place]),
                    "steps": passage.effort.steps,
                    "samples": passage.effort.samples,
                    "CPU s": passage.effort.seconds,
                }
            )
    schema = {"log": pl.String, "arm": pl.String, "label": pl.String, "period": pl.Int64,
              "Recall@20": pl.Float64, "MRR@20": pl.Float64, "steps": pl.Int64,
              "samples": pl.Int64, "CPU s": pl.Float64}  # fmt: skip
    frame = pl.DataFrame(rows, schema=schema)
    result.frames["sessions"] = frame
    for (name, arm), part in frame.group_by("log", "arm", maintain_order=True):
        result.log(f"{name}_{arm}_recall20", part["Recall@20"].mean())  # type: ignore[arg-type]
    return result
