"""What could explain the probe without a map: letters, tokens, word vectors, country labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from okml.data import fetch
from okml.errors import ParameterError
from okml.space_time.baselines import (
    ngram_features,
    region_centroids,
    ridge_predictions,
    token_features,
    token_targets,
    word_features,
    word_vector_features,
)
from okml.space_time.experiments.reading import SCORES
from okml.space_time.metrics import mean_r2, score
from okml.space_time.models import LanguageModel
from okml.space_time.study import Rows, Study, default_prompt
from okml.steps import StepResult

NGRAMS = "character n-grams"
ORACLE = "region centroid (oracle)"
PROBE = "language model, linear probe"


def measure_controls(study: Study, layers: pl.DataFrame, chosen: Mapping[str, int]) -> StepResult:
    """Run the same ridge regression on everything but the language model's activations.

    Args:
        study: The run.
        layers: Curves by layer, for the probe's own scores.
        chosen: The layer that leave-one-out picked for each set.

    The frame ``controls`` has ``set``, ``features``, ``seed`` and the scores.
    """
    vectors = _word_vectors(study)
    with study.language_model(study.profile.model) as lm:
        frames = [_controls_of(study, lm, name, vectors) for name in study.profile.sets]
    own = layers.filter(
        pl.col("layer") == pl.col("chosen"), targets="true", model="trained"
    ).select("set", "seed", *SCORES, features=pl.lit(PROBE))
    shown = ["set", "features", "seed", *SCORES]
    controls = pl.concat([own.select(shown), *(frame.select(shown) for frame in frames)])
    result = StepResult(frames={"controls": controls})
    _log_gains(study, result, controls)
    _log_selectivity(study, result, chosen)
    _log_zip_codes(study, result)
    return result


def _controls_of(
    study: Study,
    lm: LanguageModel,
    name: str,
    vectors: Mapping[str, NDArray[np.floating[Any]]] | None,
) -> pl.DataFrame:
    entity_set = study.entities(name)
    text, y = entity_set.text(), entity_set.y()
    tokens = lm.tokenizer(text, add_special_tokens=False)["input_ids"]
    found = []
    for seed in study.probe_seeds:
        rows = study.rows(name, seed)
        matrices: dict[str, Any] = {
            NGRAMS: ngram_features(text, rows.train),
            "bag of words": word_features(text, rows.train),
            "bag of tokens": token_features(tokens, rows.train),
        }
        if vectors is not None:
            matrices["static word vectors"] = word_vector_features(text, vectors).features
        predictions = {
            features: ridge_predictions(X, y, rows.train, rows.test, seed=seed)
            for features, X in matrices.items()
        }
        if entity_set.region is not None:
            regions = entity_set.frame[entity_set.region].to_list()
            predictions[ORACLE] = region_centroids(regions, y, rows.train, rows.test)
        for features, predicted in predictions.items():
            scores = score(y[rows.test], predicted, entity_set.kind)
            found.append(
                {
                    "set": name,
                    "features": features,
                    "seed": seed,
                    **{metric: getattr(scores, metric) for metric in SCORES},
                }
            )
    return pl.DataFrame(found)


def _log_gains(study: Study, result: StepResult, controls: pl.DataFrame) -> None:
    for name, key in ((study.profile.place_set, "place"), (study.profile.time_set, "time")):
        for seed in study.probe_seeds:
            rows = controls.filter(set=name, seed=seed)
            r2 = dict(rows.select("features", "r2").iter_rows())
            result.log(f"{key}_ngram_r2", r2[NGRAMS], seed=seed, unit="R²")
            result.log(f"{key}_gain_over_ngram", r2[PROBE] - r2[NGRAMS], seed=seed, unit="R²")
            if ORACLE in r2:  # a set without regions has none
                result.log(f"{key}_oracle_excess", r2[ORACLE] - r2[PROBE], seed=seed, unit="R²")


def _log_selectivity(study: Study, result: StepResult, chosen: Mapping[str, int]) -> None:
    """Log how well the probe learns a random place for each last token: memory by token alone."""
    name = study.profile.place_set
    y = study.entities(name).y()
    with (
        study.activations(name, default_prompt(name)) as store,
        study.language_model(study.profile.model) as lm,
    ):
        features = study.features(store.layer(chosen[name]))
        tokens = study.tokens(lm, name, default_prompt(name))
    last = tokens.ids[tokens.offsets[1:] - 1].tolist()
    for seed in study.probe_seeds:
        rows = study.rows(name, seed)
        task = token_targets(last, y, seed)
        predicted = study.probe(features, task, rows)
        learned = mean_r2(task[rows.test], predicted)
        result.log("place_token_task_r2", learned, seed=seed, unit="R²")


def _log_zip_codes(study: Study, result: StepResult) -> None:
    """Log what n-grams make of bare ZIP codes, and of the same set without them."""
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
        rows = Rows(np.flatnonzero(~test), np.flatnonzero(test))
        X: sparse.csr_matrix = ngram_features(part.text(), rows.train)
        predicted = ridge_predictions(X, part.y(), rows.train, rows.test)
        result.log(f"{key}_ngram_r2", mean_r2(part.y()[rows.test], predicted), unit="R²")


def _word_vectors(study: Study) -> Mapping[str, NDArray[np.floating[Any]]] | None:
    """Return static vectors of the words that occur in the sets, if the profile names some."""
    if study.profile.word_vectors is None:
        return None
    (path,) = fetch(study.profile.word_vectors).values()
    wanted = {
        word
        for name in study.profile.sets
        for text in study.entities(name).text()
        for word in _words(text)
    }
    table = json.loads(path.read_text(encoding="utf-8"))["vectors"]
    width = 100  # each entry is the vector, then its norm and its rank
    return {word: np.array(table[word][:width]) for word in wanted if word in table}


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()
