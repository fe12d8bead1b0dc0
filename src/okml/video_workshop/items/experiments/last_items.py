"""Last items by the protocol of MicroLens's published table, and the leak of its split."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from okml.seqrec.comparison import RankedArms
from okml.seqrec.interactions import Interactions
from okml.seqrec.splits import Split
from okml.steps import StepResult
from okml.video_workshop.common.intervals import interval
from okml.video_workshop.items.arms import last_item_jobs
from okml.video_workshop.items.study import ItemsStudy

HR = "hr@10"
METRICS = (HR, "ndcg@10", "hr@20", "ndcg@20")
POPULARITY = "popularity"
CLASSES = {
    "id": "ids",
    "both": "ids and frozen content",
    "noise": "ids and random vectors",
    "content": "frozen content",
    POPULARITY: "counts of training events",
}


def measure_last_items(study: ItemsStudy) -> StepResult:
    """Rank last items by SASRec on rows, on content and on both, and by popularity."""
    profile, result = study.profile, StepResult()
    ranked = RankedArms(study.last_split.test.user)
    for job in last_item_jobs(profile):
        ranked.add(job.arm, job.seed, study.last_ranks(job))
    counted = study.popularity_ranks()
    for seed in profile.seeds:  # popularity has no seed, and is paired with all
        ranked.add(POPULARITY, seed, counted)
    _measure_gains(result, ranked)
    result.frames["last_items"] = pl.DataFrame([_row(ranked, arm) for arm in ranked.arms])
    result.frames["protocol"] = pl.DataFrame([_protocol(study)])
    return result


def _measure_gains(result: StepResult, ranked: RankedArms) -> None:
    """Measure the gains of frozen content and of random vectors over rows alone."""
    if {"id", "both", "noise"} <= {*ranked.arms}:
        result.measure("loo_content_hr10_gain", ranked.difference("both", "id", HR))
        result.measure("loo_noise_hr10_gain", ranked.difference("noise", "id", HR))
        beyond = ranked.difference("both", "noise", HR)
        result.compare("loo_content_hr10_gain", "loo_noise_hr10_gain", beyond)


def _row(ranked: RankedArms, arm: str) -> dict[str, object]:
    """Return means over users and seeds in the columns of the published table.

    The difference in HR@10 from rows is paired by user and has an interval.
    """
    model = "popularity" if arm == POPULARITY else "SASRec"
    seeds = None if arm == POPULARITY else len(ranked.seeds(arm))
    row: dict[str, object] = {"class": CLASSES[arm], "model": model, "seeds": seeds}
    row |= {metric.upper(): float(ranked.values(arm, metric).mean()) for metric in METRICS}
    if arm == "id" or not ranked.common_seeds(arm, "id"):
        return row | {"HR@10 over ids": None, "low": None, "high": None}
    found = ranked.difference(arm, "id", HR)
    return row | interval(found, "HR@10 over ids")


def later_training_share(interactions: Interactions, split: Split) -> float:
    """Return the share of training events that are later than a test target, a mean over targets.

    A model is tested at a moment that its training has partly seen. A split by the clock has 0.
    """
    trained = np.arange(len(interactions)) < split.train_end[interactions.users()]
    times = np.sort(interactions.times[trained])
    until = np.searchsorted(times, interactions.times[split.test.end], side="right")
    return float(1 - (until / len(times)).mean())


def _protocol(study: ItemsStudy) -> dict[str, Any]:
    """Return the counts of training and test, and the share of training later than its targets."""
    data, interactions, split = study.data, study.log.interactions, study.last_split
    whole = data.users is None and data.least_item_events is None
    later = later_training_share(interactions, split) if study.log.dated else None
    return {
        "data": data.log if whole else f"a part of {data.log}",
        "users": interactions.user_count,
        "items": interactions.item_count,
        "training events": int(study.last_counts.sum()),
        "test targets": len(split.test),
        "training later than a target": later,
    }
