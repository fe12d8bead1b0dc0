"""What could explain the probe without a map: letters, tokens, word vectors, country labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from okml.errors import ParameterError
from okml.ledger import Estimate, estimate_statistic
from okml.space_time.arms import asked
from okml.space_time.baselines import (
    ngram_features,
    region_centroids,
    ridge_predictions,
    token_features,
    token_targets,
    word_features,
    word_vector_features,
)
from okml.space_time.experiments.reading import probe_of
from okml.space_time.judging import Arm, HeldOut, Statistic, less
from okml.space_time.layers import EMBEDDING, SCORES, Draw
from okml.space_time.metrics import Floats, mean_r2, score
from okml.space_time.prompts import default_prompt
from okml.space_time.study import Study
from okml.steps import StepResult

NGRAMS = "character n-grams"
EMBEDDED = "embedding of the last token"
ORACLE = "region centroid (oracle)"
PROBE = "language model, linear probe"


def measure_controls(
    study: Study, layers: pl.DataFrame, predictions: pl.DataFrame, chosen: Mapping[str, int]
) -> StepResult:
    """Run the same ridge regression on everything but the language model's activations.

    Args:
        study: The study of the run.
        layers: Curves by layer, for the probe's own scores.
        predictions: The predictions of the probes of the layers.
        chosen: The layer that leave-one-out picked for each set.

    The frame ``controls`` has ``set``, ``features``, ``seed`` and the scores. The frame ``margins``
    holds the probe of every set to its strongest cheap explanation, with 95 % intervals of the
    difference: ``set``, ``question`` (R², or ρ inside regions), ``probe``, ``cheap`` (which one),
    ``cheap_value``, ``difference``, ``low`` and ``high``. The oracle is none of these: no name
    tells it the region. It is measured by ``place_oracle_excess``.
    """
    profile = study.profile
    arms = {name: _arms(study, name, predictions) for name in profile.sets}
    result = StepResult(frames={"controls": _scores(study, arms, layers)})
    margins: list[dict[str, Any]] = []
    for name, of_set in arms.items():
        entity_set, key = study.entities(name), profile.stem(name)
        held_out = HeldOut(entity_set)
        margins.append({"set": name, "question": "R²"} | _measure_margin(
            held_out, result, f"{key}_r2", held_out.r2, of_set
        ))  # fmt: skip
        if entity_set.kind == "space" and entity_set.region is not None:
            metric = f"{key}_within_region_rho"
            within = held_out.order_within(entity_set.frame[entity_set.region].to_list())
            result.measure(metric, held_out.estimate(within, of_set[PROBE]), "ρ")
            margins.append({"set": name, "question": "ρ inside regions"} | _measure_margin(
                held_out, result, metric, within, of_set
            ))  # fmt: skip
        if name in (profile.place_set, profile.time_set):
            _measure_gains(held_out, result, key, of_set)
    result.frames["margins"] = pl.DataFrame(margins)
    _measure_selectivity(study, result, chosen)
    _measure_zip_codes(study, result)
    return result


def cheap_features(study: Study, name: str, train: NDArray[np.int64]) -> dict[str, Any]:
    """Return features of the names of a set, [n, d] each, that need no language model.

    Args:
        study: The study of the run.
        name: The name of the set.
        train: The rows whose n-grams, words and tokens make the vocabularies.
    """
    text = study.entities(name).text()
    tokenizer = study.language_model(study.profile.model).tokenizer
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    features: dict[str, Any] = {
        NGRAMS: ngram_features(text, train),
        "bag of words": word_features(text, train),
        "bag of tokens": token_features(tokens, train),
    }
    if study.word_vectors is not None:
        features["static word vectors"] = word_vector_features(text, study.word_vectors)
    return features


def _arms(study: Study, name: str, predictions: pl.DataFrame) -> dict[str, Arm]:
    """Return what the probe and all of its controls predict for a set."""
    entity_set = study.entities(name)
    y = entity_set.y()
    cheap = {
        seed: cheap_features(study, name, study.rows(name, seed).train)
        for seed in study.probe_seeds
    }

    def fitted(rows: Draw, seed: int, features: str) -> Floats:
        X = cheap[seed][features]
        return ridge_predictions(X, y, rows.train, rows.test, seed=seed, device=study.device)

    arms = {
        PROBE: probe_of(study, predictions, name),
        EMBEDDED: probe_of(study, predictions, name, EMBEDDING),
    }
    for features in cheap[study.probe_seeds[0]]:
        arms[features] = study.arm(name, partial(fitted, features=features))
    if entity_set.region is not None:
        regions = entity_set.frame[entity_set.region].to_list()
        arms[ORACLE] = study.arm(
            name, lambda rows, _: region_centroids(regions, y, rows.train, rows.test)
        )
    return arms


def _scores(
    study: Study, arms: Mapping[str, Mapping[str, Arm]], layers: pl.DataFrame
) -> pl.DataFrame:
    """Return the scores of every arm; those of the probe are in its curves by layer."""
    own = layers.filter(pl.col("layer") == pl.col("chosen"), model="trained")
    found = [own.select("set", "seed", *SCORES, features=pl.lit(PROBE))]
    for name, of_set in arms.items():
        entity_set = study.entities(name)
        for features, arm in of_set.items():
            if features == PROBE:
                continue
            for seed, predicted in arm.items():
                test = study.rows(name, seed).test
                scores = score(entity_set.y()[test], predicted[test], entity_set.kind)
                row = {metric: [getattr(scores, metric)] for metric in SCORES}
                row |= {"set": [name], "seed": [seed], "features": [features]}
                found.append(pl.DataFrame(row))
    shown = ["set", "features", "seed", *SCORES]
    return pl.concat([frame.select(shown) for frame in found])


def _measure_gains(
    held_out: HeldOut, result: StepResult, key: str, arms: Mapping[str, Arm]
) -> None:
    """Measure the probe less the letters, and the oracle less the probe."""
    gain = less(held_out.r2)
    result.measure(f"{key}_ngram_r2", held_out.estimate(held_out.r2, arms[NGRAMS]), "R²")
    over_ngram = held_out.estimate(gain, arms[PROBE], arms[NGRAMS])
    result.measure(f"{key}_gain_over_ngram", over_ngram, "R²")
    if ORACLE in arms:  # a set without regions has none
        excess = held_out.estimate(gain, arms[ORACLE], arms[PROBE])
        result.measure(f"{key}_oracle_excess", excess, "R²")


def _measure_margin(
    held_out: HeldOut,
    result: StepResult,
    metric: str,
    statistic: Statistic,
    arms: Mapping[str, Arm],
) -> dict[str, Any]:
    """Compare a metric of the probe with its strongest cheap explanation; return a row to show.

    The strongest is chosen on the test names, which favors it over the probe.
    """
    rivals = {name: arm for name, arm in arms.items() if name not in (PROBE, ORACLE)}
    best = held_out.strongest(statistic, rivals)
    control = re.sub("(r2|within_region_rho)$", r"cheap_\1", metric)
    probe, cheap = (held_out.estimate(statistic, arm) for arm in (arms[PROBE], rivals[best]))
    difference = held_out.estimate(less(statistic), arms[PROBE], rivals[best])
    result.measure(control, cheap, "R²" if metric.endswith("r2") else "ρ")
    result.compare(metric, control, difference)
    return {
        "probe": probe.mean,
        "cheap": best,
        "cheap_value": cheap.mean,
        "difference": difference.mean,
        "low": difference.low,
        "high": difference.high,
    }


def _measure_selectivity(study: Study, result: StepResult, chosen: Mapping[str, int]) -> None:
    """Measure how well the probe learns a random place for each last token: memory by token.

    Names with the same last token share their place, so tokens are what is sampled.
    """
    name = study.profile.place_set
    entity_set = study.entities(name)
    y = entity_set.y()
    model = study.profile.model
    (states,) = study.layers(asked(model, name), chosen[name])
    features = study.features(states)
    tokens = study.tokens(study.language_model(model), name, default_prompt(name))
    last = tokens.ids[tokens.offsets[1:] - 1]
    tasks = {seed: token_targets(last.tolist(), y, seed) for seed in study.profile.seeds}
    learned = study.arm(
        name, lambda rows, seed: study.probe(features, tasks[seed], rows), random=True
    )
    r2 = HeldOut(entity_set, clusters=last).estimate(
        lambda rows, p, task: mean_r2(task[rows], p[rows]), learned, tasks
    )
    result.measure("place_token_task_r2", r2, "R²")


def _measure_zip_codes(study: Study, result: StepResult) -> None:
    """Measure what n-grams make of bare ZIP codes, and of the same set without them."""
    entity_set = study.all_entities(study.profile.zip_set)
    if entity_set.entity_type is None or "zip" not in set(entity_set.frame["entity_type"]):
        raise ParameterError(
            f"{entity_set.name} has no ZIP codes.", "Name another zip_set, such as us_towns."
        )
    for key, kept in (("usa_zip", pl.col("entity_type") == "zip"),
                      ("usa_no_zip", pl.col("entity_type") != "zip")):  # fmt: skip
        part = entity_set.filter(kept)
        limit = study.profile.zip_entities
        part = part if limit is None or limit >= len(part) else part.sample(limit, seed=0)
        test = part.test_mask()
        rows = Draw(np.flatnonzero(~test), np.flatnonzero(test))
        X: sparse.csr_matrix = ngram_features(part.text(), rows.train)
        predicted = ridge_predictions(X, part.y(), rows.train, rows.test)
        result.measure(f"{key}_ngram_r2", _r2_of(part.y()[rows.test], predicted), "R²")


def _r2_of(true: Floats, predicted: Floats) -> Estimate:
    return estimate_statistic(
        lambda kept, _: mean_r2(true[kept], predicted[kept]), len(true), "entities"
    )
