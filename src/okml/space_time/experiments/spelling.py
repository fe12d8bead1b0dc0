"""Where the accuracy comes from: names that spell their region, and names that do not.

The released World strings put the region first ("Iowa's Dallas County"), so that the probe is not
read at a token that is a region's name. The region still stands before the probed token, and
attention can carry it there.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.space_time.baselines import ngram_features, ridge_predictions
from okml.space_time.layers import fit_layers
from okml.space_time.metrics import mean_r2
from okml.space_time.study import Study, default_prompt
from okml.steps import StepResult

SPELLED, BARE = "region in the name", "bare name"
REGION_FIRST = "'s "
FEWEST = 20  # test names of a group, below which R² says nothing
NGRAMS = "character n-grams"


def measure_spelling(study: Study) -> StepResult:
    """Score the probe, layer by layer, on names that spell their region and on those that do not.

    One probe is fitted on all training names; only the scoring is split. The frame ``spelling``
    has ``features`` (``no prompt``, the paper's question, or n-grams), ``layer`` (null for
    n-grams), ``depth``, ``seed``, ``names`` and ``r2``.
    """
    name = study.profile.place_set
    entity_set = study.entities(name)
    y, text = entity_set.y(), entity_set.text()
    spelled = np.array([REGION_FIRST in entity for entity in text])
    found = []
    for prompt in dict.fromkeys((default_prompt(name), "empty")):
        with study.activations(name, prompt) as store:
            last = store.manifest.hidden[-1] - 1
            for seed in study.probe_seeds:
                rows = study.rows(name, seed)
                fits = fit_layers(
                    store.states, {"place": y}, rows.train, rows.test,
                    how=study.profile.probe.preprocess, lambdas=study.lambdas, device=study.device,
                )  # fmt: skip
                for fit in fits:
                    where = {"features": f"prompt: {prompt}", "layer": fit.layer, "seed": seed}
                    scores = _by_group(y[rows.test], fit.predictions["place"], spelled[rows.test])
                    found += [where | {"depth": fit.layer / last} | score for score in scores]
    for seed in study.probe_seeds:
        rows = study.rows(name, seed)
        predicted = ridge_predictions(
            ngram_features(text, rows.train), y, rows.train, rows.test, seed=seed
        )
        scores = _by_group(y[rows.test], predicted, spelled[rows.test])
        where = {"features": NGRAMS, "layer": None, "depth": None, "seed": seed}
        found += [where | score for score in scores]
    frame = pl.DataFrame(found, infer_schema_length=None)
    result = StepResult(frames={"spelling": frame})
    result.log("place_spelled_share", float(spelled.mean()), unit="of all names")
    asked = frame.filter(features=f"prompt: {default_prompt(name)}")
    for seed in study.probe_seeds:
        for names, key in ((SPELLED, "spelled"), (BARE, "bare")):
            curve = asked.filter(names=names, seed=seed)["r2"]
            letters = frame.filter(features=NGRAMS, names=names, seed=seed)["r2"]
            if len(curve):
                result.log(f"place_{key}_best_r2", float(curve.to_numpy().max()), seed=seed)
                result.log(f"place_{key}_ngram_r2", float(letters[0]), seed=seed)
    return result


def _by_group(
    true: NDArray[np.float64], predicted: NDArray[np.float64], spelled: NDArray[np.bool_]
) -> list[dict[str, str | float]]:
    """Return R² of each group that is large enough."""
    groups = {SPELLED: spelled, BARE: ~spelled}
    return [
        {"names": names, "r2": mean_r2(true[rows], predicted[rows])}
        for names, rows in groups.items()
        if rows.sum() >= FEWEST
    ]
