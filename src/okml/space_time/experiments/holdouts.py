"""Countries, decades and kinds of entity that the probe never saw (Tables 3 and 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from okml.errors import ParameterError
from okml.ledger import Estimate, estimate_difference, estimate_mean, estimate_statistic
from okml.space_time import probes
from okml.space_time.arms import asked
from okml.space_time.baselines import ngram_features
from okml.space_time.batches import Rows
from okml.space_time.entities import find
from okml.space_time.experiments.controls import EMBEDDED, NGRAMS, cheap_features
from okml.space_time.holdout import Refits, frequent_blocks, hold_out
from okml.space_time.judging import kept_together
from okml.space_time.layers import spells_region
from okml.space_time.metrics import Floats, Mask
from okml.space_time.paper import BLOCKS, TYPES
from okml.space_time.study import Study
from okml.steps import StepResult

MODEL = "language model"


def measure_holdouts(study: Study, chosen: Mapping[str, int]) -> StepResult:
    """Hold out blocks and entity types, with the model's features and with n-grams alike.

    The sets of the claims are also held out with every other cheap explanation. The frames
    ``blocks`` and ``types`` have the columns of :func:`okml.space_time.holdout.hold_out` except
    the errors of single rows, and ``set`` and ``features``.
    """
    found: dict[str, list[pl.DataFrame]] = {"blocks": [], "types": []}
    for name in study.profile.sets:
        entity_set, parts = study.entities(name), held_out_parts(study, name)
        if not parts:
            continue
        for features, X in _features(study, name, chosen[name]).items():
            probe = Refits(
                X, entity_set.y(), entity_set.test_mask(), groups=kept_together(entity_set),
                device=study.device,
            )  # fmt: skip
            for part, (groups, labels) in parts.items():
                matched = features == MODEL
                rows = hold_out(probe, groups, labels, entity_set.kind, matched=matched)
                found[part].append(rows.with_columns(set=pl.lit(name), features=pl.lit(features)))
    for part, name in (("blocks", study.profile.place_set), ("types", study.profile.type_set)):
        if not any(name in frame["set"] for frame in found[part]):
            raise ParameterError(
                f"{name} has too few entities to hold out a part of them.",
                "Raise `entities`, or lower `holdout_min_rows`.",
            )
    frames = {part: pl.concat(rows, how="diagonal") for part, rows in found.items()}
    result = StepResult(frames={part: rows.drop("heldout_errors") for part, rows in frames.items()})
    _measure_blocks(result, frames["blocks"].filter(set=study.profile.place_set))
    types = frames["types"].filter(set=study.profile.type_set)
    _measure_types(result, types, _bare_rows(study, types))
    return result


def held_out_parts(study: Study, name: str) -> dict[str, tuple[list[Any], list[Any]]]:
    """Return what is held out of a set, where there is something.

    Returns:
        For ``blocks``, the regions or periods of Table 3, and ``types``, those of Table 4: the
        label of each entity, [n], and the labels to hold out.
    """
    entity_set, profile = study.entities(name), study.profile
    paper_set = find(name).paper_set
    found = {}
    for part, column, listed in (
        ("blocks", entity_set.region, BLOCKS[paper_set]),
        ("types", entity_set.entity_type, TYPES[paper_set]),
    ):
        if column is None:
            continue
        groups = entity_set.frame[column].to_list()
        labels = frequent_blocks(groups, entity_set.test_mask(), profile.holdout_min_rows)
        if profile.held_out == "frequent":
            # Without the majority of the types too little would be left to train on.
            most = profile.holdout_blocks
            labels = labels[1 : 1 + most] if part == "types" else labels[:most]
        elif listed is not None:
            labels = [label for label in listed if label in labels]
        if labels:
            found[part] = (groups, labels)
    return found


def _features(study: Study, name: str, layer: int) -> dict[str, Any]:
    reading = study.read(asked(study.profile.model, name))
    states, embedded = (probes.prepared(study, reading.layer(at)) for at in (layer, -1))
    train = np.flatnonzero(~study.entities(name).test_mask())
    if name in (study.profile.place_set, study.profile.type_set):
        cheap = {EMBEDDED: embedded, **cheap_features(study, name, train)}
    else:
        cheap = {NGRAMS: ngram_features(study.entities(name).text(), train)}
    return {MODEL: states, **cheap}


def _measure_blocks(result: StepResult, blocks: pl.DataFrame) -> None:
    """Measure the means over held-out blocks, each beside its strongest cheap rival."""
    for features, suffix in ((MODEL, ""), (NGRAMS, "_ngram")):
        rows = blocks.filter(features=features)
        result.log(f"block_nominal_proximity{suffix}", float(np.nanmean(rows["nominal"])))
        result.log(f"block_norm_ratio{suffix}", float(np.nanmean(rows["norm_ratio"])))
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


def _bare_rows(study: Study, types: pl.DataFrame) -> Mask:
    """Tell which entities of held-out kinds have a bare name, in the order of their errors."""
    name = study.profile.type_set
    kinds = np.array([str(kind) for kind in held_out_parts(study, name)["types"][0]])
    bare = ~spells_region(study.entities(name).text())
    held_out = types.filter(features=MODEL)["block"]
    return np.concatenate([bare[kinds == kind] for kind in held_out])


def _measure_types(result: StepResult, types: pl.DataFrame, bare: Mask) -> None:
    """Measure held-out kinds of entity, and of them the names that do not spell their region.

    Args:
        result: The result of the step.
        types: The hold-outs of the kinds, the model's and the cheap explanations'.
        bare: Whether the name of each held-out entity is such a name, kind by kind.
    """
    for features, suffix in ((MODEL, ""), (NGRAMS, "_ngram")):
        nominal = types.filter(features=features)["nominal"]
        result.log(f"type_nominal_proximity{suffix}", float(np.nanmean(nominal)))
    single = {name: rows.explode("heldout_errors") for name, rows in _by_features(types)}
    errors = {name: rows["heldout_errors"].to_numpy() for name, rows in single.items()}
    kinds = np.unique(single[MODEL]["block"].to_numpy(), return_inverse=True)[1]
    _measure_kinds(result, "type_heldout_proximity", errors, kinds)
    of_bare = {name: values[bare] for name, values in errors.items()}
    _measure_kinds(result, "type_bare_heldout_proximity", of_bare, kinds[bare])


def _measure_kinds(
    result: StepResult, metric: str, errors: Mapping[str, Floats], kinds: Rows
) -> None:
    """Measure the mean over kinds beside that of the strongest cheap rival.

    Each kind counts once. There are too few of them to sample, so the interval is over entities.
    """

    def mean(kept: Rows, name: str) -> float:
        values, of = errors[name][kept], kinds[kept]
        return float(np.mean([values[of == kind].mean() for kind in np.unique(of)]))

    def estimate(statistic: Callable[[Rows], float]) -> Estimate:
        return estimate_statistic(lambda kept, _: statistic(kept), len(kinds), "entities")

    everything = np.arange(len(kinds))
    best = _strongest({name: -mean(everything, name) for name in errors})
    result.measure(metric, estimate(partial(mean, name=MODEL)))
    result.measure(f"{metric}_cheap", estimate(partial(mean, name=best)))
    difference = estimate(lambda kept: mean(kept, MODEL) - mean(kept, best))
    result.compare(metric, f"{metric}_cheap", difference)


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
