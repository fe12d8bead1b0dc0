"""Controls that need no map: letters, tokens, word vectors, country labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from okml.errors import ParameterError
from okml.ledger import Estimate, estimate_statistic
from okml.space_time import probes
from okml.space_time.arms import asked
from okml.space_time.baselines import (
    SparsePenalty,
    choose_sparse_lambda,
    ngram_features,
    region_centroids,
    ridge_predictions,
    token_features,
    token_targets,
    without_shared_words,
    word_features,
    word_vector_features,
)
from okml.space_time.experiments.reading import probe_of
from okml.space_time.judging import Arm, HeldOut, Statistic, kept_together, less, to_frame
from okml.space_time.layers import EMBEDDING, FEWEST, SCORES, Draw, spells_region
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

    The frame ``controls`` has ``set``, ``features``, ``seed`` and the scores, and for letters,
    words and tokens the ``exponent`` of the chosen λ and whether it is ``interior``; see
    :class:`okml.space_time.baselines.SparsePenalty`. The frame ``margins`` holds the probe of every
    set to its strongest cheap explanation, with 95 % intervals of the difference: ``set``,
    ``question`` (R², also of new words, of bare names and of new last tokens, or ρ inside regions),
    ``probe``, ``cheap`` (which one), ``cheap_value``, ``difference``, ``low`` and ``high``. The
    oracle is none of these: no name tells it the region. It is measured by ``place_oracle_excess``.
    The frame ``letters`` has what n-grams predict for the place set, in the form of
    :func:`okml.space_time.judging.to_frame`.
    """
    profile = study.profile
    penalties = {name: _penalties(study, name) for name in profile.sets}
    arms = {name: _arms(study, name, predictions, penalties[name]) for name in profile.sets}
    result = StepResult(frames={"controls": _scores(study, arms, layers, penalties)})
    margins: list[dict[str, Any]] = []
    for name, of_set in arms.items():
        held_out, key = HeldOut(study.entities(name)), profile.stem(name)
        for question in _questions(study, name, held_out):
            margin = _measure_margin(held_out, result, key, question, of_set)
            margins.append({"set": name, "question": question.shown, **margin})
        if name in (profile.place_set, profile.time_set):
            _measure_gains(held_out, result, key, of_set)
    result.frames["margins"] = pl.DataFrame(margins)
    result.frames["letters"] = to_frame(arms[profile.place_set][NGRAMS])
    _measure_selectivity(study, result, chosen)
    _measure_zip_codes(study, result)
    return result


class Question(NamedTuple):
    """What is asked of the probe and of its cheap explanations alike.

    Attributes:
        shown: The question as tables show it.
        metric: The end of the name of its metrics.
        unit: The unit of the statistic.
        statistic: The statistic of what an arm predicts.
        measured: Whether an earlier step has measured it for the probe.
    """

    shown: str
    metric: str
    unit: str
    statistic: Statistic
    measured: bool = False


def _questions(study: Study, name: str, held_out: HeldOut) -> Iterator[Question]:
    """Yield the questions to a set; some parts of the names are asked of the place set alone."""
    entity_set = study.entities(name)
    text, test = entity_set.text(), entity_set.test_mask()
    bare = ~spells_region(text)
    yield Question("R²", "r2", "R²", held_out.r2, measured=True)
    if (unseen := test & without_shared_words(text, ~test)).sum() >= FEWEST:
        yield Question("R² of new words", "new_words_r2", "R²", held_out.among(unseen))
    if name == study.profile.place_set:
        yield Question("R² of bare names", "bare_r2", "R²", held_out.among(bare))
        last = last_tokens(study, name)
        new = test & ~np.isin(last, last[~test])
        if new.sum() >= FEWEST:
            yield Question("R² of new last tokens", "new_token_r2", "R²", held_out.among(new))
    if entity_set.kind == "space" and entity_set.region is not None:
        regions = entity_set.frame[entity_set.region].to_list()
        within = held_out.order_within(regions)
        yield Question("ρ inside regions", "within_region_rho", "ρ", within)
        if name == study.profile.place_set:
            of_bare = [region if kept else None for region, kept in zip(regions, bare, strict=True)]
            within = held_out.order_within(of_bare)
            yield Question("ρ inside regions, bare names", "bare_within_region_rho", "ρ", within)


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


Cheap = dict[tuple[int, str], tuple[Any, SparsePenalty | None]]


def _penalties(study: Study, name: str) -> Cheap:
    """Return the features and the λ of every cheap explanation, by seed and name.

    Dense features have no λ yet: they choose it like the probe.
    """
    entity_set = study.entities(name)
    y, groups = entity_set.y(), kept_together(entity_set)
    found: Cheap = {}
    for seed in study.probe_seeds:
        train = study.rows(name, seed).train
        for features, X in cheap_features(study, name, train).items():
            penalty = None
            if sparse.issparse(X):
                penalty = choose_sparse_lambda(X[train], y[train], groups[train], seed)
            found[seed, features] = X, penalty
    return found


def _arms(study: Study, name: str, predictions: pl.DataFrame, cheap: Cheap) -> dict[str, Arm]:
    """Return what the probe and all of its controls predict for a set."""
    entity_set = study.entities(name)
    y = entity_set.y()

    def fitted(rows: Draw, seed: int, features: str) -> Floats:
        X, penalty = cheap[seed, features]
        return ridge_predictions(X, y, rows.train, rows.test, penalty=penalty, device=study.device)

    arms = {
        PROBE: probe_of(study, predictions, name),
        EMBEDDED: probe_of(study, predictions, name, EMBEDDING),
    }
    for features in dict.fromkeys(features for _, features in cheap):
        arms[features] = probes.arm(study, name, partial(fitted, features=features))
    if entity_set.region is not None:
        regions = entity_set.frame[entity_set.region].to_list()
        arms[ORACLE] = probes.arm(
            study, name, lambda rows, _: region_centroids(regions, y, rows.train, rows.test)
        )
    return arms


def _scores(
    study: Study, arms: Mapping[str, Mapping[str, Arm]], layers: pl.DataFrame,
    cheap: Mapping[str, Cheap],
) -> pl.DataFrame:  # fmt: skip
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
                row: dict[str, Any] = {"set": name, "seed": seed, "features": features}
                row |= score(entity_set.y()[test], predicted[test], entity_set.kind)
                _, penalty = cheap[name].get((seed, features), (None, None))
                if penalty is not None:
                    row |= {"exponent": penalty.exponent, "interior": penalty.interior}
                found.append(pl.DataFrame([row]))
    shown = ["set", "features", "seed", *SCORES, "exponent", "interior"]
    return pl.concat(found, how="diagonal").select(shown)


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
    held_out: HeldOut, result: StepResult, key: str, question: Question, arms: Mapping[str, Arm]
) -> dict[str, Any]:
    """Compare a metric of the probe with its strongest cheap explanation; return a row to show.

    The strongest is chosen on the test names, which favors it over the probe.
    """
    metric, control = f"{key}_{question.metric}", f"{key}_cheap_{question.metric}"
    statistic, unit = question.statistic, question.unit
    scores = {name: held_out.mean(statistic, arm) for name, arm in arms.items() if name != ORACLE}
    probe = scores.pop(PROBE)
    best = max(scores, key=scores.__getitem__)
    if not question.measured:
        result.measure(metric, held_out.estimate(statistic, arms[PROBE]), unit)
    result.measure(control, held_out.estimate(statistic, arms[best]), unit)
    difference = held_out.estimate(less(statistic), arms[PROBE], arms[best])
    result.compare(metric, control, difference)
    return {
        "probe": probe,
        "cheap": best,
        "cheap_value": scores[best],
        "difference": difference.mean,
        "low": difference.low,
        "high": difference.high,
    }


def _measure_selectivity(study: Study, result: StepResult, chosen: Mapping[str, int]) -> None:
    """Measure how well the probe learns a random place for each last token: memory by token.

    Names with the same last token share their place, so tokens are what is sampled.
    """
    name = study.profile.place_set
    reading = study.read(asked(study.profile.model, name))
    features = probes.prepared(study, reading.layer(chosen[name]))
    last, tasks = token_tasks(study, name)
    learned = probes.arm(
        study, name, lambda rows, seed: probes.predict(study, features, tasks[seed], rows),
        random=True,
    )  # fmt: skip
    r2 = HeldOut(study.entities(name), clusters=last, over="tokens").estimate(
        lambda rows, p, task: mean_r2(task[rows], p[rows]), learned, tasks
    )
    result.measure("place_token_task_r2", r2, "R²")


def last_tokens(study: Study, name: str) -> NDArray[np.integer[Any]]:
    """Return the last token of each name of a set, the one that the probe is read at, [n]."""
    lm = study.language_model(study.profile.model)
    tokens = study.tokens(lm, name, default_prompt(name))
    return tokens.ids[tokens.offsets[1:] - 1]


def token_tasks(study: Study, name: str) -> tuple[NDArray[np.integer[Any]], dict[int, Floats]]:
    """Return the last token of each name, [n], and what each seed draws for it, [n, t]."""
    last, y = last_tokens(study, name), study.entities(name).y()
    return last, {seed: token_targets(last.tolist(), y, seed) for seed in study.profile.seeds}


def _measure_zip_codes(study: Study, result: StepResult) -> None:
    """Measure what n-grams make of bare ZIP codes, and of the same set without them."""
    entity_set = study.all_entities(study.profile.zip_set)
    if entity_set.entity_type is None or "zip" not in set(entity_set.frame["entity_type"]):
        raise ParameterError(
            f"{entity_set.name} has no ZIP codes.", "Name another zip_set, such as us_towns."
        )
    for key, kept in (("usa_zip", pl.col("entity_type") == "zip"),
                      ("usa_no_zip", pl.col("entity_type") != "zip")):  # fmt: skip
        part = entity_set.filter(kept).at_most(study.profile.zip_entities)
        test = part.test_mask()
        rows = Draw(np.flatnonzero(~test), np.flatnonzero(test))
        letters = ngram_features(part.text(), rows.train)
        y, groups = part.y()[rows.train], kept_together(part)[rows.train]
        penalty = choose_sparse_lambda(letters[rows.train], y, groups)
        predicted = ridge_predictions(letters, part.y(), rows.train, rows.test, penalty=penalty)
        result.measure(f"{key}_ngram_r2", _r2_of(part.y()[rows.test], predicted), "R²")


def _r2_of(true: Floats, predicted: Floats) -> Estimate:
    return estimate_statistic(
        lambda kept, _: mean_r2(true[kept], predicted[kept]), len(true), "entities"
    )
