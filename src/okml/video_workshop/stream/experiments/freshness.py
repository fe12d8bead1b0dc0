"""Stale, updated and retrained models; intervals of updates; sessions of two shops."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from okml.seqrec.metrics import row_metrics
from okml.steps import StepResult
from okml.video_workshop.stream.arms import (
    FIXED,
    OLD_EVENTS,
    RETRAINED,
    STALE,
    UPDATED,
    StreamArm,
    StreamJob,
    freshness_jobs,
    session_jobs,
    shard_jobs,
    update_rates,
)
from okml.video_workshop.stream.experiments.tables import (
    METRIC,
    compare,
    curves_table,
    slices_table,
    strategy_table,
)
from okml.video_workshop.stream.prequential import per_period
from okml.video_workshop.stream.study import StreamStudy

RECALL = "hr@20"  # recall of one target, ADER's Recall@20


def measure_freshness(study: StreamStudy) -> StepResult:
    """Compare strategies on the periods after the base model: quality and cost."""
    study.run_all()
    result, served, jobs = StepResult(), study.served(), freshness_jobs(study.profile)
    compared = compare(study, served, jobs, served.drawn)
    updated, stale, old = UPDATED.name, STALE.name, OLD_EVENTS.name
    result.measure("incremental_hr10_gain", compared.difference(updated, stale, METRIC))
    if old in compared.arms:
        result.measure("rehearsal_hr10_gain", compared.difference(old, stale, METRIC))
        beyond = compared.difference(updated, old, METRIC)
        result.compare("incremental_hr10_gain", "rehearsal_hr10_gain", beyond)
    if (retrained := RETRAINED.name) in compared.arms:
        # On common seeds, because retraining may have fewer.
        beyond = compared.difference(updated, retrained, METRIC)
        result.measure("incremental_hr10_gain_over_retraining", beyond)
        for seed in compared.seeds(retrained):
            update, whole = (
                study.passage(StreamJob(arm, seed)).effort for arm in (UPDATED, RETRAINED)
            )
            result.log("incremental_cost_ratio", update.samples / whole.samples, seed=seed)
    result.frames["strategies"] = strategy_table(study, compared, jobs, stale)
    result.frames["curves"] = curves_table(study, served, jobs)
    of_users = {name: part[served.drawn] for name, part in served.user_slices().items()}
    result.frames["users"] = slices_table(study, jobs, served.drawn, of_users)
    return result


def measure_shards(study: StreamStudy) -> StepResult:
    """Compare intervals of updates, Monolith's synchronization intervals."""
    study.run_all()
    result, jobs = StepResult(), shard_jobs(study.profile)
    compared = compare(study, study.served(), jobs, study.served().drawn)
    shards = list(dict.fromkeys(job.arm.shards for job in jobs))
    days = [study.settings.weekly.days / number for number in shards]
    frame = strategy_table(study, compared, jobs, UPDATED.name)
    result.frames["shards"] = frame.with_columns(pl.Series("days between updates", days))
    seldom, often = jobs[0].arm, jobs[-1].arm
    difference = compared.difference(often.name, seldom.name, METRIC)
    result.measure("frequent_update_hr10_gain", difference)
    result.log("update_rates_at_an_end", _rates_at_an_end(study, (seldom, often)), exact=True)
    return result


def _rates_at_an_end(study: StreamStudy, arms: Iterable[StreamArm]) -> int:
    """Return how many arms have the largest or the smallest of the rates that were tried."""
    ends = 0
    for arm in arms:
        rates = update_rates(study.settings, arm)
        ends += study.rate(arm) in (min(rates), max(rates))
    return ends


def measure_sessions(study: StreamStudy) -> StepResult:
    """Run ADER's strategies on its logs: Recall@20 and MRR@20 of each period."""
    study.run_all()
    result, rows = StepResult(), []
    jobs = session_jobs(study.profile)
    for job in jobs:
        assert job.arm.log is not None
        served, passage = study.served(job.arm.log), study.passage(job)
        metrics = row_metrics(passage.ranks, (20,))
        periods, recall = per_period(metrics[RECALL], served.rows, served.stream)
        _, reciprocal = per_period(metrics["mrr@20"], served.rows, served.stream)
        named = {"log": study.settings.sessions[job.arm.log].log, "arm": job.arm.name,
                 "label": job.arm.label, "seed": job.seed,
                 "rate": None if job.arm.strategy in FIXED else study.rate(job.arm)}  # fmt: skip
        spent = {"steps": passage.effort.steps, "samples": passage.effort.samples}
        rows += [
            {**named, "period": int(period), "Recall@20": float(found), "MRR@20": float(rank),
             **spent}
            for period, found, rank in zip(periods, recall, reciprocal, strict=True)
        ]  # fmt: skip
    text, whole = dict.fromkeys(("log", "arm", "label"), pl.String), pl.Int64
    schema = {**text, "seed": whole, "rate": pl.Float64, "period": whole, "Recall@20": pl.Float64,
              "MRR@20": pl.Float64, "steps": whole, "samples": whole}  # fmt: skip
    result.frames["sessions"] = pl.DataFrame(rows, schema=schema)
    for number, settings in enumerate(study.settings.sessions):
        _measure_log(result, study, [job for job in jobs if job.arm.log == number], settings.log)
    return result


def _measure_log(result: StepResult, study: StreamStudy, jobs: list[StreamJob], log: str) -> None:
    """Measure on one log what distillation and plain updates lack against retraining.

    Arms that tell why are measured, too: old events with their clicks, as many steps on new events,
    and distillation on all old events.
    """
    served = study.served(jobs[0].arm.log)
    compared = compare(study, served, jobs, np.ones(len(served.rows), bool))
    if {"distillation", "incremental", "retrain"} <= {*compared.arms}:
        distilled, plain = f"{log}_distillation_recall20_gain", f"{log}_update_recall20_gain"
        result.measure(distilled, compared.difference("distillation", "retrain", RECALL))
        result.measure(plain, compared.difference("incremental", "retrain", RECALL))
        beyond = compared.difference("distillation", "incremental", RECALL)
        result.compare(distilled, plain, beyond)
        compared_arms = [
            StreamArm(name, log=jobs[0].arm.log) for name in ("incremental", "distillation")
        ]
        result.log(f"{log}_rates_at_an_end", _rates_at_an_end(study, compared_arms), exact=True)
    for arm in ("replay", "repeat", "distillation_all"):
        if {arm, "retrain"} <= {*compared.arms}:
            lacking = compared.difference(arm, "retrain", RECALL)
            result.measure(f"{log}_{arm}_recall20_gain", lacking)
