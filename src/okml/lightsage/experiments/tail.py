"""The long tail: pooling in training, serving policies, and other groups.

Two kinds of groups know the catalog alone: random ones within a category and type, and one for
each category and type. What is better than both owes it to similarity.
"""

from __future__ import annotations

import polars as pl

from okml.lightsage.arms import (
    BY_FEATURES,
    DIGEST,
    FEW_TREATMENTS,
    HIDDEN,
    JOINED_SERVED,
    KEY_SERVED,
    LARGE_SERVED,
    OWN,
    RANDOM,
    RANDOM_SERVED,
    SERVED,
    TailTreatment,
    no_graph_jobs,
    tail_jobs,
)
from okml.lightsage.comparison import PairedComparison, measure_gain
from okml.lightsage.study import Study
from okml.steps import StepResult, announced

BUCKETS = (0, 1, 4, 8, 16, 64)  # clicks in training, lower ends


def measure_tail(study: Study) -> StepResult:
    """Train with and without groups and evaluate every serving policy."""
    profile, result = study.profile, StepResult()
    comparison, buckets = PairedComparison(OWN.name), []
    for row, job in tail_jobs(profile):
        data = study.data(job.data, job.seed)
        with announced(f"seed {job.seed}, tail: {row.name}"):
            served = study.tail_vectors(job, row.groups)
        found = comparison.add(row.name, job.seed, data, served.scorer(row.policy))
        clicks = pl.Series(data.clicks[data.test.target])
        hits = pl.DataFrame({"clicks": clicks, "hit": found.hits})
        buckets.append(hits.with_columns(arm=pl.lit(row.name)))
    rows = no_graph_jobs(profile)
    comparison.outcomes |= study.compare(rows, BY_FEATURES).outcomes
    _measure(result, comparison)
    rows += [(row.name, job) for row, job in tail_jobs(profile)]
    claimed = *(row.name for row in FEW_TREATMENTS), BY_FEATURES
    result.log("rising_tail", study.not_flat(rows, claimed), exact=True)
    if HIDDEN.name in comparison.arms:
        rising = study.not_flat(rows, (HIDDEN.name, OWN.name))
        result.log("rising_hidden_neighborhoods", rising, exact=True)
    result.frames = {
        "summary": comparison.summary(),
        "seeds": comparison.per_seed(),
        "buckets": _by_bucket(pl.concat(buckets)),
    }
    return result


def _measure(result: StepResult, comparison: PairedComparison) -> None:
    def gain(
        name: str,
        arms: tuple[TailTreatment, TailTreatment],
        part: str,
        control: tuple[str, str] | None = None,
    ) -> None:
        compared = arms[0].name, arms[1].name
        measure_gain(result, comparison, name, compared, control, part)

    no_graph = "no_graph_cold_hr10_gain", BY_FEATURES
    gain("cold_hr10_gain", (DIGEST, OWN), "cold", no_graph)
    gain("served_cold_hr10_gain", (SERVED, OWN), "cold")
    by_key = "one_group_a_type_cold_hr10_gain", KEY_SERVED.name
    gain("similar_groups_cold_hr10_gain", (SERVED, RANDOM_SERVED), "cold", by_key)
    gain("larger_groups_cold_hr10_gain", (LARGE_SERVED, RANDOM_SERVED), "cold")
    gain("larger_groups_cold_hr10_gain_over_a_type", (LARGE_SERVED, KEY_SERVED), "cold")
    gain("joined_cold_hr10_gain", (JOINED_SERVED, OWN), "cold")
    over_features = comparison.difference(JOINED_SERVED.name, BY_FEATURES, "cold")
    result.compare("joined_cold_hr10_gain", no_graph[0], over_features)
    gain("head_hr10_loss", (OWN, DIGEST), "head")
    gain("served_head_hr10_loss", (OWN, SERVED), "head")
    for name, part in (
        ("pooled_training_tail_gain", "tail"),
        ("pooled_training_tail_target_gain", "tail target"),
    ):
        gain(name, (DIGEST, SERVED), part, (f"random_{name}", RANDOM.name))
    gain("hidden_neighborhoods_hr10_gain", (HIDDEN, OWN), "hr@10")
    gain("hidden_neighborhoods_tail_target_gain", (HIDDEN, OWN), "tail target")
    gain("hidden_neighborhoods_cold_hr10_gain", (HIDDEN, OWN), "cold")


def _by_bucket(hits: pl.DataFrame) -> pl.DataFrame:
    """Return HR@10 by the target's clicks in training."""
    lower = pl.Series(BUCKETS)
    place = pl.Series(lower.search_sorted(hits["clicks"], side="right")).cast(pl.Int64) - 1
    return (
        hits.with_columns(bucket=lower.gather(place))
        .group_by("arm", "bucket", maintain_order=True)
        .agg(pl.col("hit").mean().alias("hr@10"), pl.len().alias("pairs"))
        .sort("bucket", maintain_order=True)
    )
