"""Last items by the protocol of MicroLens's published table, and the leak of its split."""

from __future__ import annotations

from typing import Any

import polars as pl

from okml.seqrec.comparison import RankedArms
from okml.steps import StepResult
from okml.video_workshop.items.arms import last_item_jobs
from okml.video_workshop.items.last_items import LastItems, later_training_share
from okml.video_workshop.items.study import ItemsStudy

HR, NDCG = "hr@10", "ndcg@10"
METRICS = (HR, NDCG, "hr@20", "ndcg@20")
POPULARITY = "popularity"
CLASSES = {
    "id": "ids",
    "both": "ids and frozen content",
    "noise": "ids and random vectors",
    "content": "frozen content",
    POPULARITY: "counts of training events",
}

LATER = "training later than a target"


def measure_last_items(study: ItemsStudy) -> StepResult:
    """Rank last items by SASRec on rows, on content and on both, and by popularity."""
    profile, items, result = study.profile, study.last_items, StepResult()
    ranked = RankedArms(items.split.test.user)
    for job in last_item_jobs(profile):
        ranked.add(job.arm, job.seed, items.ranks(job))
        for metric, name in ((HR, "hr10"), (NDCG, "ndcg10")):
            value = ranked.metric(job.arm, metric, job.seed)
            result.log(f"loo_{job.arm}_{name}", value, seed=job.seed)
    counted = items.popularity_ranks()
    for seed in profile.seeds:  # popularity has no seed, and is paired with all
        ranked.add(POPULARITY, seed, counted)
    result.log("loo_popularity_ndcg10", ranked.metric(POPULARITY, NDCG, profile.seeds[0]))
    _measure_gains(result, ranked)
    result.frames["last_items"] = pl.DataFrame([_row(ranked, arm) for arm in ranked.arms])
    protocol = _protocol(study, items)
    if protocol[LATER] is not None:
        result.log("loo_later_training_share", protocol[LATER])
    result.frames["protocol"] = pl.DataFrame([protocol])
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
    return row | {"HR@10 over ids": found.mean, "low": found.low, "high": found.high}


def _protocol(study: ItemsStudy, items: LastItems) -> dict[str, Any]:
    """Return the counts of training and test, and the share of training later than its targets."""
    data, interactions = study.data, items.interactions
    whole = data.users is None and data.least_item_events is None
    later = None
    if study.log.dated:
        later = later_training_share(interactions, items.split)
    return {
        "data": data.log if whole else f"a part of {data.log}",
        "users": interactions.user_count,
        "items": interactions.item_count,
        "training events": int(items.counts.sum()),
        "test targets": len(items.split.test),
        LATER: later,
    }
