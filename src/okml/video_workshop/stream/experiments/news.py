"""Novelties for a model in service: launched items, and a sudden shift of users' taste."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from okml.ledger import Estimate, estimate_mean, estimate_statistic
from okml.seqrec.interactions import Ints
from okml.seqrec.metrics import Floats, hit
from okml.seqrec.rows import Mask
from okml.steps import StepResult
from okml.video_workshop.common.intervals import interval
from okml.video_workshop.stream.arms import (
    STALE,
    STALE_SHOCK,
    UPDATED,
    UPDATED_CONTENT,
    UPDATED_SHOCK,
    UPDATED_SHUFFLED,
    StreamArm,
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
    young = compare(study, served, jobs, launched & age_slices(served.ages)[YOUNG])
    content, shuffled = UPDATED_CONTENT.name, UPDATED_SHUFFLED.name
    for metric, arm in (
        ("content_young_hr10_gain", content),
        ("shuffled_young_hr10_gain", shuffled),
    ):
        if arm in young.arms:
            result.measure(metric, young.difference(arm, UPDATED.name, METRIC))
    if {content, shuffled} <= {*young.arms}:
        beyond = young.difference(content, shuffled, METRIC)
        result.compare("content_young_hr10_gain", "shuffled_young_hr10_gain", beyond)
    return result


class Leads(NamedTuple):
    """What updates gain over the model left alone, in HR@10 of the drawn requests of a stream.

    Attributes:
        users: User of each request, ``[r]``.
        late: Mask of the requests from the period of the shift on, ``[r]``.
        gained: Gain of each request by seed, ``[r]``.
    """

    users: Ints
    late: Mask
    gained: dict[int, Floats]

    def mean(self, part: Mask) -> Estimate:
        """Return the mean gain of some of the requests, ``[r]``."""
        kept = {seed: found[part] for seed, found in self.gained.items()}
        return estimate_mean(kept, "users", clusters=self.users[part])

    def change(self, rows: Ints, seed: int) -> float:
        """Return the mean gain of the late requests among ``rows`` less that of the others."""
        found, late = self.gained[seed][rows], self.late[rows]
        return float(found[late].mean() - found[~late].mean())


def measure_shock(study: StreamStudy) -> StepResult:
    """Compare what updates gain after taste has shifted with what they gained before.

    A model left alone falls behind by itself, so the control is the same change between the same
    periods of the stream without a shift.
    """
    study.run_all()
    result, seeds = StepResult(), study.profile.seeds
    shifted = _leads(study, STALE_SHOCK, UPDATED_SHOCK)
    calm = _leads(study, STALE, UPDATED)
    before, after = shifted.mean(~shifted.late), shifted.mean(shifted.late)
    result.measure("updated_lead_before_shift", before)
    result.measure("updated_lead_after_shift", after)
    moved, drifted = (
        estimate_statistic(of.change, len(of.users), "users", seeds=seeds, clusters=of.users)
        for of in (shifted, calm)
    )
    result.measure("shift_lead_gain", moved)
    result.measure("calm_lead_gain", drifted)
    border = len(shifted.users)  # requests of the stream without a shift are numbered from here

    def beyond(rows: Ints, seed: int) -> float:
        alone = rows[rows >= border] - border
        return shifted.change(rows[rows < border], seed) - calm.change(alone, seed)

    users = np.concatenate([shifted.users, calm.users])
    difference = estimate_statistic(beyond, len(users), "users", seeds=seeds, clusters=users)
    result.compare("shift_lead_gain", "calm_lead_gain", difference)
    rows = [("before", before), ("after", after), ("after less before", moved),
            ("after less before, no shift", drifted)]  # fmt: skip
    result.frames["leads"] = pl.DataFrame(
        [{"periods": name, **interval(found)} for name, found in rows]
    )
    late = pl.col("period") >= study.settings.weekly.shock.period
    curves = curves_table(study, study.served(shock=True), shock_jobs(study.profile))
    result.frames["shock"] = curves.with_columns(late.alias("shifted"))
    return result


def _leads(study: StreamStudy, stale: StreamArm, updated: StreamArm) -> Leads:
    """Return what an arm gains over another one of the same stream, with every seed."""
    served = study.served(shock=stale.shock)
    old, new = (
        {seed: hit(study.passage(StreamJob(arm, seed)).ranks[served.drawn], 10)
         for seed in study.profile.seeds}
        for arm in (stale, updated)
    )  # fmt: skip
    return Leads(
        served.rows.user[served.drawn].astype(np.int64),
        served.period[served.drawn] >= study.settings.weekly.shock.period,
        {seed: new[seed] - old[seed] for seed in new},
    )
