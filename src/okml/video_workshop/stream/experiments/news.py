"""Novelties for a model in service: launched items, and a sudden shift of users' taste."""

from __future__ import annotations

import numpy as np
import polars as pl

from okml.ledger import Estimate, estimate_mean, estimate_statistic
from okml.seqrec.interactions import Ints
from okml.seqrec.metrics import Floats, hit
from okml.steps import StepResult
from okml.video_workshop.common.intervals import interval
from okml.video_workshop.stream.arms import (
    STALE_SHOCK,
    UPDATED,
    UPDATED_CONTENT,
    UPDATED_SHOCK,
    StreamJob,
    new_item_jobs,
    shock_jobs,
)
from okml.video_workshop.stream.experiments.tables import (
    METRIC,
    compare,
    curves_table,
    slices_table,
    strategy_table,
)
from okml.video_workshop.stream.served import YOUNG, age_slices
from okml.video_workshop.stream.study import StreamStudy


def measure_new_items(study: StreamStudy) -> StepResult:
    """Compare rows of single items with vectors that read content, on launched items.

    Only rows of launched items count, so that each slice of ages has the same items.
    """
    study.run_all()
    result, served, jobs = StepResult(), study.served(), new_item_jobs(study.profile)
    launched = np.isin(served.targets, served.launched)
    slices = age_slices(served.ages[launched])
    result.frames["ages"] = slices_table(study, jobs, launched, slices)
    compared = compare(study, served, jobs, served.drawn)
    result.frames["tables"] = strategy_table(study, compared, jobs, UPDATED.name)
    if (content := UPDATED_CONTENT.name) in compared.arms:
        young = launched & age_slices(served.ages)[YOUNG]
        gain = compare(study, served, jobs, young).difference(content, UPDATED.name, METRIC)
        result.measure("content_young_hr10_gain", gain)
    return result


def measure_shock(study: StreamStudy) -> StepResult:
    """Compare what updates gain after taste has shifted with what they gained before."""
    study.run_all()
    result, served, jobs = StepResult(), study.served(shock=True), shock_jobs(study.profile)
    shifted = (served.period >= study.settings.weekly.shock.period)[served.drawn]
    lead = {
        seed: _hits(study, StreamJob(UPDATED_SHOCK, seed))
        - _hits(study, StreamJob(STALE_SHOCK, seed))
        for seed in study.profile.seeds
    }
    users = served.rows.user[served.drawn].astype(np.int64)
    before, after = (_mean_lead(lead, users, part) for part in (~shifted, shifted))
    result.measure("updated_lead_before_shift", before)
    result.measure("updated_lead_after_shift", after)

    def change(rows: Ints, seed: int) -> float:
        found, late = lead[seed][rows], shifted[rows]
        return float(found[late].mean() - found[~late].mean())

    seeds = list(lead)
    moved = estimate_statistic(change, len(users), "users", seeds=seeds, clusters=users)
    result.measure("shift_lead_gain", moved)
    rows = [("before", before), ("after", after), ("after less before", moved)]
    result.frames["leads"] = pl.DataFrame(
        [{"periods": name, **interval(found)} for name, found in rows]
    )
    late = pl.col("period") >= study.settings.weekly.shock.period
    curves = curves_table(study, served, jobs).with_columns(late.alias("shifted"))
    result.frames["shock"] = curves
    return result


def _hits(study: StreamStudy, job: StreamJob) -> Floats:
    """Return the hits of a run on the sample of all requests, ``[r]``."""
    return hit(study.passage(job).ranks[study.served(shock=True).drawn], 10)


def _mean_lead(lead: dict[int, Floats], users: Ints, part: np.ndarray) -> Estimate:
    kept = {seed: found[part] for seed, found in lead.items()}
    return estimate_mean(kept, "users", clusters=users[part])
