"""E5 and E6: countries, decades and kinds of entity that the probe never saw (Tables 3 and 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.errors import ParameterError
from okml.ledger import Estimate, estimate_difference, estimate_mean, estimate_statistic
from okml.space_time.arms import asked
from okml.space_time.baselines import ngram_features
from okml.space_time.entities import find
from okml.space_time.experiments.controls import EMBEDDED, NGRAMS, cheap_features
from okml.space_time.holdout import frequent_blocks, hold_out, minority_types, paper_labels
from okml.space_time.paper import BLOCKS, TYPES
from okml.space_time.study import Study
from okml.steps import StepResult

MODEL = "language model"


def measure_holdouts(study: Study, chosen: Mapping[str, int]) -> StepResult:
    """Hold out blocks and entity types, with the model's features and with n-grams alike.

    The sets of the claims are also held out with every other cheap explanation. The frames
    ``blocks`` and ``types`` have the columns of :func:`okml.space_time.holdout.hold_out` and
    ``set`` and ``features``.
    """
    blocks: list[pl.DataFrame] = []
    types: list[pl.DataFrame] = []
    for name in study.profile.sets:
        entity_set = study.entities(name)
        found = _features(study, name, chosen[name])
        for column, kept in ((entity_set.region, blocks), (entity_set.entity_type, types)):
            labels = held_out_labels(study, name, column)
            if column is None or not labels:
                continue
            groups = entity_set.frame[column].to_list()
            for features, X in found.items():
                rows = hold_out(
                    X, entity_set.y(), entity_set.test_mask(), groups, labels, entity_set.kind,
                    device=study.device, matched=features == MODEL,
                )  # fmt: skip
                kept.append(rows.with_columns(set=pl.lit(name), features=pl.lit(features)))
    for found_blocks, name in ((blocks, study.profile.place_set), (types, study.profile.type_set)):
        if not any(name in frame["set"] for frame in found_blocks):
            raise ParameterError(
                f"{name} has too few entities to hold out a part of them.",
                "Raise `entities`, or lower `holdout_min_rows`.",
            )
    frames = {"blocks": blocks, "types": types}
    result = StepResult(frames={n: pl.concat(f, how="diagonal") for n, f in frames.items()})
    _measure(study, result)
    return result


def held_out_labels(study: Study, name: str, column: str | None) -> list[Any]:
    """Return what is held out of a set: the regions or periods of Table 3, or the types of Table 4.

    Args:
        study: The study of the run.
        name: The name of the set.
        column: The set's column of regions or of entity types; None where it has none.
    """
    entity_set, profile = study.entities(name), study.profile
    if column is None:
        return []
    groups, is_test = entity_set.frame[column].to_list(), entity_set.test_mask()
    of_types = column == entity_set.entity_type
    if profile.held_out == "paper":
        listed = (TYPES if of_types else BLOCKS)[find(name).paper_set]
        return paper_labels(groups, is_test, listed, profile.holdout_min_rows)
    if of_types:
        found = minority_types(groups, is_test, profile.holdout_min_rows)
    else:
        found = frequent_blocks(groups, is_test, len(groups), profile.holdout_min_rows)
    return found[: profile.holdout_blocks]


def _features(study: Study, name: str, layer: int) -> dict[str, Any]:
    found = study.layers(asked(study.profile.model, name), layer, -1)
    states, embedded = (study.features(layer) for layer in found)
    train = np.flatnonzero(~study.entities(name).test_mask())
    if name in (study.profile.place_set, study.profile.type_set):
        cheap = {EMBEDDED: embedded, **cheap_features(study, name, train)}
    else:
        cheap = {NGRAMS: ngram_features(study.entities(name).text(), train)}
    return {MODEL: states, **cheap}


def _measure(study: Study, result: StepResult) -> None:
    """Measure the means over held-out blocks and kinds, each beside its strongest cheap rival."""
    blocks = result.frames["blocks"].filter(set=study.profile.place_set)
    kinds = result.frames["types"].filter(set=study.profile.type_set)
    for features, suffix in ((MODEL, ""), (NGRAMS, "_ngram")):
        of_blocks, of_kinds = (rows.filter(features=features) for rows in (blocks, kinds))
        result.log(f"block_nominal_proximity{suffix}", float(np.nanmean(of_blocks["nominal"])))
        result.log(f"block_norm_ratio{suffix}", float(np.nanmean(of_blocks["norm_ratio"])))
        result.log(f"type_nominal_proximity{suffix}", float(np.nanmean(of_kinds["nominal"])))
    matched = blocks.filter(features=MODEL)["heldout_matched"]
    result.log("block_matched_proximity", float(np.nanmean(matched)))
    for metric, column, sign in (
        ("block_heldout_proximity", "heldout", -1), ("block_cosine", "cosine", 1),
    ):  # fmt: skip
        values = {name: rows[column].to_numpy() for name, rows in _by_features(blocks)}
        best = _strongest({name: sign * row.mean() for name, row in values.items()})
        result.measure(metric, estimate_mean(values[MODEL], "blocks"))
        result.measure(f"{metric}_cheap", estimate_mean(values[best], "blocks"))
        difference = estimate_difference(values[MODEL], values[best], "blocks")
        result.compare(metric, f"{metric}_cheap", difference)
    errors = {name: _Errors(rows) for name, rows in _by_features(kinds)}
    best = _strongest(
        {name: -rows["heldout"].to_numpy().mean() for name, rows in _by_features(kinds)}
    )
    metric = "type_heldout_proximity"
    own, cheap = errors[MODEL], errors[best]
    result.measure(metric, own.estimate(own.mean))
    result.measure(f"{metric}_cheap", cheap.estimate(cheap.mean))
    difference = own.estimate(lambda kept, _: own.mean(kept, 0) - cheap.mean(kept, 0))
    result.compare(metric, f"{metric}_cheap", difference)


class _Errors:
    """Proximity errors of the entities of all held-out kinds: means over kinds, each counted once.

    There are too few kinds to sample them, so the interval is over entities.
    """

    def __init__(self, rows: pl.DataFrame) -> None:
        single = rows.explode("heldout_errors")
        self.errors = single["heldout_errors"].to_numpy()
        self.kinds = np.unique(single["block"].to_numpy(), return_inverse=True)[1]

    def mean(self, kept: NDArray[np.int64], _: int) -> float:
        kinds, errors = self.kinds[kept], self.errors[kept]
        return float(np.mean([errors[kinds == kind].mean() for kind in np.unique(kinds)]))

    def estimate(self, statistic: Callable[[NDArray[np.int64], int], float]) -> Estimate:
        return estimate_statistic(statistic, len(self.errors), "entities")


def _by_features(rows: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    for features in rows["features"].unique(maintain_order=True):
        yield features, rows.filter(features=features)


def _strongest(scores: Mapping[str, float]) -> str:
    """Return the cheap explanation with the largest score, which favors it; NaN is none."""
    known = {name: value for name, value in scores.items() if name != MODEL and value == value}
    return max(known, key=known.__getitem__)


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
