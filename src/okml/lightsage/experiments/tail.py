"""The long tail: pooling in training, serving policies, and random groups.

Random groups are drawn among items of one category and type, so that they control for similarity.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from okml.lightsage.arms import Arm
from okml.lightsage.comparison import Comparison, measure_gain
from okml.lightsage.experiments.networks import NO_GRAPH, variant_arm
from okml.lightsage.ranking import vector_scorer
from okml.lightsage.study import Study
from okml.lightsage.tail import Policy
from okml.steps import StepResult, announced

Named = tuple[str, str]  # metric and arm of a control
BUCKETS = (0, 1, 4, 8, 16, 64)  # clicks in training, lower ends


class Row(NamedTuple):
    """One treatment of the tail."""

    name: str
    pooled: str  # of the training
    policy: Policy
    random: bool = False  # served with random groups
    hidden: bool = False  # trained with hidden neighborhoods


OWN = Row("trained alone, own vectors", "no", "own")
DIGEST = Row("trained pooled, served by the digest's rule", "similar", "isolated")
SERVED = Row("trained alone, served by the digest's rule", "no", "isolated")
RANDOM_SERVED = Row("trained alone, random groups of a type served", "no", "isolated", random=True)
RANDOM = Row("trained pooled at random in a type, similar groups served", "random", "isolated")
ROWS = (
    OWN,
    Row("trained pooled, own vectors", "similar", "own"),
    Row("trained pooled, whole tail pooled", "similar", "all"),
    DIGEST,
    Row("trained pooled, the digest's rule by query", "similar", "query"),
    SERVED,
    RANDOM,
    RANDOM_SERVED,
    Row("trained with hidden neighborhoods, own vectors", "no", "own", hidden=True),
)
FEW = (OWN, DIGEST, SERVED, RANDOM, RANDOM_SERVED)
BY_FEATURES = "no graph, own vectors"  # the vector of an isolated item without a group


def measure_tail(study: Study) -> StepResult:
    """Train with and without groups and evaluate every serving policy."""
    profile, result = study.profile, StepResult()
    comparison, buckets = study.comparison(OWN.name), []
    for seed in profile.seeds:
        data = study.data(profile.data, seed)
        for row in _rows(study):
            arm = _arm(study, row)
            with announced(f"seed {seed}, tail: {row.name}"):
                served = study.tail_vectors(data, arm, seed, row.random)
            outcome = comparison.add(row.name, seed, data, served.scorer(row.policy))
            clicks = pl.Series(data.clicks[data.test.target])
            buckets.append(
                pl.DataFrame({"clicks": clicks, "hit": outcome.hits}).with_columns(
                    arm=pl.lit(row.name)
                )
            )
        with announced(f"seed {seed}, tail: {BY_FEATURES}"):
            vectors = study.vectors(data, variant_arm(study, NO_GRAPH), seed)
        comparison.add(BY_FEATURES, seed, data, vector_scorer(vectors))
    _measure(result, comparison)
    result.frames = {
        "summary": comparison.summary(),
        "seeds": comparison.per_seed(),
        "buckets": _by_bucket(pl.concat(buckets)),
    }
    return result


def tail_arms(study: Study) -> list[Arm]:
    """Return the encoder configurations of the rows."""
    return [*(_arm(study, row) for row in _rows(study)), variant_arm(study, NO_GRAPH)]


def _rows(study: Study) -> tuple[Row, ...]:
    return FEW if study.profile.tail_rows == "few" else ROWS


def _arm(study: Study, row: Row) -> Arm:
    hidden = study.profile.tail.hidden_share if row.hidden else 0.0
    changes = {"pooled": row.pooled, "hidden_share": hidden}
    return variant_arm(study, "V0").model_copy(update=changes)


def _measure(result: StepResult, comparison: Comparison) -> None:
    def gain(name: str, arms: tuple[Row, Row], part: str, control: Named | None = None) -> None:
        compared = arms[0].name, arms[1].name
        measure_gain(result, comparison, name, compared, control, part)

    no_graph = "no_graph_cold_hr10_gain", BY_FEATURES
    random = "random_pooled_training_tail_gain", RANDOM.name
    gain("cold_hr10_gain", (DIGEST, OWN), "cold", no_graph)
    gain("served_cold_hr10_gain", (SERVED, OWN), "cold")
    gain("similar_groups_cold_hr10_gain", (SERVED, RANDOM_SERVED), "cold")
    gain("head_hr10_loss", (OWN, DIGEST), "head")
    gain("served_head_hr10_loss", (OWN, SERVED), "head")
    gain("pooled_training_tail_gain", (DIGEST, SERVED), "tail", random)


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
