"""The long tail: pooling in training, whose vector is served, and groups at random."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from okml.lightsage.arms import Arm
from okml.lightsage.comparison import Comparison
from okml.lightsage.experiments.networks import variant_arm
from okml.lightsage.study import Study
from okml.lightsage.tail import Policy
from okml.steps import StepResult, announced

BUCKETS = (0, 1, 4, 8, 16, 64)  # clicks in training, lower ends


class Row(NamedTuple):
    """One way to treat the tail."""

    name: str
    pooled: str  # of the training
    policy: Policy
    random: bool = False  # served with random groups
    hidden: bool = False  # trained with hidden neighborhoods


OWN = Row("trained alone, own vectors", "no", "own")
DIGEST = Row("trained pooled, served by the digest's rule", "similar", "isolated")
SERVED = Row("trained alone, served by the digest's rule", "no", "isolated")
RANDOM_SERVED = Row("trained alone, random groups served", "no", "isolated", random=True)
RANDOM = Row("trained pooled at random, similar groups served", "random", "isolated")
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
FEW = (OWN, DIGEST, SERVED, RANDOM_SERVED)


def measure_tail(study: Study) -> StepResult:
    """Train with and without groups and serve in every way."""
    profile, result = study.profile, StepResult()
    comparison, buckets = study.comparison(OWN.name), []
    for seed in profile.seeds:
        data = study.data(profile.data, seed)
        for row in _rows(study):
            arm = _arm(study, row)
            with announced(f"seed {seed}, tail: {row.name}"):
                vectors = study.tail_vectors(data, arm, seed, row.random)
            outcome = comparison.add(row.name, seed, data, vectors.scorer(row.policy))
            clicks = pl.Series(data.clicks[data.test.target])
            buckets.append(
                pl.DataFrame({"clicks": clicks, "hit": outcome.hits}).with_columns(
                    arm=pl.lit(row.name)
                )
            )
        _log(result, comparison, seed)
    result.frames = {
        "summary": comparison.summary(),
        "seeds": comparison.per_seed(),
        "buckets": _by_bucket(pl.concat(buckets)),
    }
    return result


def tail_arms(study: Study) -> list[Arm]:
    """Return the encoders behind the rows."""
    return [_arm(study, row) for row in _rows(study)]


def _rows(study: Study) -> tuple[Row, ...]:
    return FEW if study.profile.tail_rows == "few" else ROWS


def _arm(study: Study, row: Row) -> Arm:
    hidden = study.profile.tail.hidden_share if row.hidden else 0.0
    changes = {"pooled": row.pooled, "hidden_share": hidden}
    return variant_arm(study, "V0").model_copy(update=changes)


def _log(result: StepResult, comparison: Comparison, seed: int) -> None:
    def gain(row: Row, other: Row, metric: str) -> float:
        return comparison.difference(row.name, other.name, metric, seed)

    result.log("cold_hr10_gain", gain(DIGEST, OWN, "cold"), seed=seed)
    result.log("served_cold_hr10_gain", gain(SERVED, OWN, "cold"), seed=seed)
    result.log("random_groups_cold_hr10_gain", gain(RANDOM_SERVED, OWN, "cold"), seed=seed)
    result.log("head_hr10_loss", gain(OWN, DIGEST, "head"), seed=seed)
    result.log("served_head_hr10_loss", gain(OWN, SERVED, "head"), seed=seed)
    result.log("pooled_training_tail_gain", gain(DIGEST, SERVED, "tail"), seed=seed)
    if RANDOM.name in comparison.arms:
        found = gain(RANDOM, SERVED, "tail")
        result.log("random_pooled_training_tail_gain", found, seed=seed)


def _by_bucket(hits: pl.DataFrame) -> pl.DataFrame:
    """Return HR@10 by how often the target was clicked in training."""
    lower = pl.Series(BUCKETS)
    place = pl.Series(lower.search_sorted(hits["clicks"], side="right")).cast(pl.Int64) - 1
    return (
        hits.with_columns(bucket=lower.gather(place))
        .group_by("arm", "bucket", maintain_order=True)
        .agg(pl.col("hit").mean().alias("hr@10"), pl.len().alias("pairs"))
        .sort("bucket", maintain_order=True)
    )
