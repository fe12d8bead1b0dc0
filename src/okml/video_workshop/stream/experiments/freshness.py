"""E6: stale, updated and retrained models; intervals of updates; sessions of two shops."""

from __future__ import annotations

import polars as pl

from okml.seqrec.metrics import row_metrics
from okml.steps import StepResult
from okml.video_workshop.stream.arms import (
    LABELS,
    OLD_EVENTS,
    RETRAINED,
    STALE,
    UPDATED,
    Job,
    freshness_jobs,
    session_jobs,
    shard_jobs,
)
from okml.video_workshop.stream.experiments.tables import (
    METRIC,
    ages_table,
    compare,
    curves_table,
    strategy_table,
    users_table,
)
from okml.video_workshop.stream.prequential import per_period
from okml.video_workshop.stream.study import StreamStudy


def measure_freshness(study: StreamStudy) -> StepResult:
    """Compare strategies on the periods after the base model: quality, cost, age of items."""
    study.run_all()
    result = StepResult()
    served, jobs = study.served(), freshness_jobs(study.profile)
    compared = compare(study, served, jobs, served.drawn)
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
            _log_costs(result, study, seed)
    result.frames["strategies"] = strategy_table(study, compared, jobs, STALE.name)
    result.frames["curves"] = curves_table(study, served, jobs)
    result.frames["ages"] = ages_table(study, served, jobs)
    result.frames["users"] = users_table(study, served, jobs)
    return result


def _log_costs(result: StepResult, study: StreamStudy, seed: int) -> None:
    update, retraining = (study.passage(Job(arm, seed)).effort for arm in (UPDATED, RETRAINED))
    result.log("incremental_cost_ratio", update.samples / retraining.samples, seed=seed)
    result.log("incremental_cpu_ratio", update.seconds / retraining.seconds, seed=seed)


def measure_shards(study: StreamStudy) -> StepResult:
    """Compare intervals of updates, Monolith's synchronization intervals."""
    study.run_all()
    result = StepResult()
    jobs = shard_jobs(study.profile)
    compared = compare(study, study.served(), jobs, study.served().drawn)
    frame = strategy_table(study, compared, jobs, UPDATED.name)
    shards = list(dict.fromkeys(job.arm.shards for job in jobs))
    days = [study.settings.weekly.days / number for number in shards]
    result.frames["shards"] = frame.with_columns(
        pl.Series("updates a period", shards), pl.Series("days between updates", days)
    )
    seldom, often = jobs[0].arm.name, jobs[-1].arm.name
    result.measure("frequent_update_hr10_gain", compared.difference(often, seldom, METRIC))
    return result


def measure_sessions(study: StreamStudy) -> StepResult:
    """Run ADER's strategies on its logs: Recall@20 and MRR@20 of each period."""
    study.run_all()
    result = StepResult()
    rows = []
    for job in session_jobs(study.profile):
        assert job.arm.log is not None
        served = study.served(job.arm.log)
        passage = study.passage(job)
        metrics = row_metrics(passage.ranks, (20,))
        periods, recall = per_period(metrics["hr@20"], served.rows, served.stream)
        _, reciprocal = per_period(metrics["mrr@20"], served.rows, served.stream)
        for place, period in enumerate(periods):
            rows.append(
                {
                    "log": study.settings.sessions[job.arm.log].log,
                    "arm": job.arm.name,
                    "label": LABELS[job.arm.strategy],
                    "period": int(period),
                    "Recall@20": float(recall[place]),
                    "MRR@20": float(reciprocal[place]),
                    "steps": passage.effort.steps,
                    "samples": passage.effort.samples,
                    "seconds": passage.effort.seconds,
                }
            )
    schema = {"log": pl.String, "arm": pl.String, "label": pl.String, "period": pl.Int64,
              "Recall@20": pl.Float64, "MRR@20": pl.Float64, "steps": pl.Int64,
              "samples": pl.Int64, "seconds": pl.Float64}  # fmt: skip
    frame = pl.DataFrame(rows, schema=schema)
    result.frames["sessions"] = frame
    for (name, arm), part in frame.group_by("log", "arm", maintain_order=True):
        result.log(f"{name}_{arm}_recall20", part["Recall@20"].mean())  # type: ignore[arg-type]
    return result
