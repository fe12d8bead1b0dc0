"""E5 and E6: countries, decades and kinds of entity that the probe never saw (Tables 3 and 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.errors import ParameterError
from okml.space_time.baselines import ngram_features
from okml.space_time.holdout import frequent_blocks, hold_out, mean_over_blocks, minority_types
from okml.space_time.study import Study, default_prompt
from okml.steps import StepResult

MODEL, NGRAMS = "language model", "character n-grams"


def measure_holdouts(study: Study, chosen: Mapping[str, int]) -> StepResult:
    """Hold out blocks and entity types, with the model's features and with n-grams alike.

    The frames ``blocks`` and ``types`` have the columns of :func:`okml.space_time.holdout.hold_out`
    and ``set`` and ``features``.
    """
    blocks: list[pl.DataFrame] = []
    types: list[pl.DataFrame] = []
    for name in study.profile.sets:
        entity_set = study.entities(name)
        found = _features(study, name, chosen[name])
        for column, pick, kept in (
            (entity_set.region, _frequent, blocks),
            (entity_set.entity_type, minority_types, types),
        ):
            if column is None:
                continue
            groups = entity_set.frame[column].to_list()
            labels = pick(groups, entity_set.test_mask(), min_rows=study.profile.holdout_min_rows)
            labels = labels[: study.profile.holdout_blocks]
            if not labels:
                continue
            for features, X in found.items():
                rows = hold_out(
                    X, entity_set.y(), entity_set.test_mask(), groups, labels, entity_set.kind,
                    device=study.device,
                )  # fmt: skip
                kept.append(rows.with_columns(set=pl.lit(name), features=pl.lit(features)))
    for found_blocks, name in ((blocks, study.profile.place_set), (types, study.profile.type_set)):
        if not any(name in frame["set"] for frame in found_blocks):
            raise ParameterError(
                f"{name} has too few entities to hold out a part of them.",
                "Raise `entities`, or lower `holdout_min_rows`.",
            )
    result = StepResult(frames={"blocks": pl.concat(blocks, how="diagonal")})
    result.frames["types"] = pl.concat(types, how="diagonal")
    _log(study, result)
    return result


def _frequent(groups: list[Any], is_test: NDArray[np.bool_], min_rows: int) -> list[Any]:
    return frequent_blocks(groups, is_test, len(groups), min_rows)


def _features(study: Study, name: str, layer: int) -> dict[str, Any]:
    entity_set = study.entities(name)
    with study.activations(name, default_prompt(name)) as store:
        states = study.features(store.layer(layer))
    train = np.flatnonzero(~entity_set.test_mask())
    return {MODEL: states, NGRAMS: ngram_features(entity_set.text(), train)}


def _log(study: Study, result: StepResult) -> None:
    """Log the means over blocks of the place set, the model's and the n-grams' beside."""
    for features, suffix in ((MODEL, ""), (NGRAMS, "_ngram")):
        own = result.frames["blocks"].filter(set=study.profile.place_set, features=features)
        means = mean_over_blocks(own)
        result.log(f"block_nominal_proximity{suffix}", means["nominal"])
        result.log(f"block_heldout_proximity{suffix}", means["heldout"])
        result.log(f"block_matched_proximity{suffix}", means["heldout_matched"])
        result.log(f"block_cosine{suffix}", means["cosine"])
        result.log(f"block_norm_ratio{suffix}", means["norm_ratio"])
        kinds = result.frames["types"].filter(set=study.profile.type_set, features=features)
        means = mean_over_blocks(kinds)
        result.log(f"type_nominal_proximity{suffix}", means["nominal"])
        result.log(f"type_heldout_proximity{suffix}", means["heldout"])


def means_table(result: StepResult) -> pl.DataFrame:
    """Return the mean scores over blocks of every set, the model's beside those of n-grams."""
    scores = ("nominal", "heldout", "heldout_matched", "cosine", "norm_ratio")
    parts = [
        result.frames[frame]
        .group_by("set", "features", maintain_order=True)
        .agg(pl.len().alias("blocks"), *(pl.col(score).mean() for score in scores))
        .with_columns(held_out=pl.lit(label))
        for frame, label in (("blocks", "regions or periods"), ("types", "entity types"))
    ]
    return pl.concat(parts).select("set", "held_out", "features", "blocks", *scores)
