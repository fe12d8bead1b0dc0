"""Novelties for a model in service: launched items, and a sudden shift of users' taste."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from okml.ledger import Estimate, estimate_mean, estimate_statistic
from okml.seqrec.comparison import RankedArms
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
    shard_jobs,
    shock_jobs,
)
from okml.video_workshop.stream.experiments.tables import (
    METRIC,
    compare,
    curves_table,
    slices_table,
    strategy_table,
)
from okml.video_workshop.stream.served import YOUNG, age_slices, favorite_genres, of_genres
from okml.video_workshop.stream.study import StreamStudy


def measure_new_items(study: StreamStudy) -> StepResult:
    """Compare rows of single items with vectors that read content, on launched items.

    Only rows of launched items count, so that each slice of ages has the same items. Items are
    launched as a period starts, so that a model which is updated once a period has seen no event of
    an item in its first week: rows alone are those of the model that is updated most often.
    """
    study.run_all()
    result, served, jobs = StepResult(), study.served(), new_item_jobs(study.profile)
    often = [job for job in shard_jobs(study.profile) if job.arm.shards > 1]
    rows = often[-1].arm if often else UPDATED
    launched = np.isin(served.targets, served.launched)
    slices = age_slices(served.ages[launched])
    result.frames["ages"] = slices_table(study, [*jobs, *often], launched, slices)
    compared = compare(study, served, jobs, served.drawn)
    result.frames["tables"] = strategy_table(study, compared, jobs, UPDATED.name)
    fresh = launched & age_slices(served.ages)[YOUNG]
    young, items = compare(study, served, [*jobs, *often], fresh), served.targets[fresh]
    content, shuffled = UPDATED_CONTENT.name, UPDATED_SHUFFLED.name
    for metric, arm in (
        ("content_young_hr10_gain", content),
        ("shuffled_young_hr10_gain", shuffled),
    ):
        if arm in young.arms:
            result.measure(metric, _over_items(young, arm, rows.name, items))
    if {content, shuffled} <= {*young.arms}:
        beyond = _over_items(young, content, shuffled, items)
        result.compare("content_young_hr10_gain", "shuffled_young_hr10_gain", beyond)
    return result


def _over_items(young: RankedArms, arm: str, reference: str, items: Ints) -> Estimate:
    """Return a difference with its interval over users or over items, whichever is wider.

    Whether a new item is found depends mostly on its own vector, so that few items may have all
    hits; which ones were launched was drawn.
    """
    gained = {
        seed: young.rows(arm, METRIC, seed) - young.rows(reference, METRIC, seed)
        for seed in young.seeds(arm)
    }
    of_users = young.difference(arm, reference, METRIC)
    of_items = estimate_mean(gained, "items", clusters=items)
    low, high = zip(*(found.interval for found in (of_users, of_items)), strict=True)
    return of_items if high[1] - low[1] > high[0] - low[0] else of_users


class Leads(NamedTuple):
    """What updates gain over the model left alone, in HR@10 of some requests of a stream.

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
    """Return what an arm gains over another one of the same stream, with every seed.

    Requests of the favorite genres are left out: the shift deletes most of them, so that what is
    asked for would differ before and after it. So is the first served period, in which no model has
    been updated yet.
    """
    served, shock = study.served(shock=stale.shock), study.settings.weekly.shock
    genres = study.watched.films["genres"].fill_null([]).to_list()
    calm = study.served().stream.interactions
    favorite = of_genres(genres, favorite_genres(calm, genres, shock.genres))  # [items + 1]
    kept = served.drawn & (served.period > served.first) & ~favorite[served.targets]
    old, new = (
        {seed: hit(study.passage(StreamJob(arm, seed)).ranks[kept], 10)
         for seed in study.profile.seeds}
        for arm in (stale, updated)
    )  # fmt: skip
    return Leads(
        served.rows.user[kept].astype(np.int64),
        served.period[kept] >= shock.period,
        {seed: new[seed] - old[seed] for seed in new},
    )
