"""The accuracy on names that spell their region, and on names that do not.

The released World strings put the region first ("Iowa's Dallas County"), so that the probe is not
read at a token that is a region's name. The region still stands before the probed token, and
attention can carry it there.
"""

from __future__ import annotations

import polars as pl

from okml.space_time.experiments.controls import NGRAMS
from okml.space_time.judging import from_frame
from okml.space_time.layers import r2_by_spelling, spells_region
from okml.space_time.prompts import default_prompt
from okml.space_time.study import Study
from okml.steps import StepResult

GROUPS = {"r2_spelled": "region in the name", "r2_bare": "bare name"}


def measure_spelling(study: Study, prompts: pl.DataFrame, letters: pl.DataFrame) -> StepResult:
    """Split the probe's score by whether a name spells its region, layer by layer.

    One probe is fitted on all training names; only the scoring is split. The frame ``spelling``
    has ``features`` (no prompt, the paper's question, or n-grams), ``layer`` (null for n-grams),
    ``depth``, ``seed``, ``names`` and ``r2``.

    Args:
        study: The study of the run.
        prompts: Scores by layer under every prompt.
        letters: The values that n-grams predict.
    """
    name = study.profile.place_set
    entity_set, question = study.entities(name), default_prompt(name)
    y, spelled = entity_set.y(), spells_region(entity_set.text())
    parts = [
        prompts.filter(set=name, prompt=prompt).with_columns(features=pl.lit(f"prompt: {prompt}"))
        for prompt in dict.fromkeys((question, "empty"))
    ]
    for seed, predicted in from_frame(letters, y.shape).items():
        test = study.rows(name, seed).test
        scores = r2_by_spelling(y[test], predicted[test], spelled[test])
        parts.append(pl.DataFrame({"features": NGRAMS, "seed": seed, **scores}))
    labels = ["features", "layer", "depth", "seed"]
    frame = (
        pl.concat(parts, how="diagonal_relaxed")
        .select(*labels, *GROUPS)
        .unpivot(index=labels, variable_name="names", value_name="r2")
        .with_columns(pl.col("names").replace_strict(GROUPS))
        .drop_nulls("r2")
    )
    result = StepResult(frames={"spelling": frame})
    result.log("place_spelled_share", float(spelled.mean()), unit="of all names")
    asked = frame.filter(features=f"prompt: {question}")
    for seed in study.probe_seeds:
        for group, names in GROUPS.items():
            curve = asked.filter(names=names, seed=seed)["r2"]
            of_letters = frame.filter(features=NGRAMS, names=names, seed=seed)["r2"]
            key = group.removeprefix("r2_")
            if len(curve):
                of_seed = None if study.fixed else seed
                result.log(f"place_{key}_best_r2", float(curve.to_numpy().max()), seed=of_seed)
                result.log(f"place_{key}_ngram_r2", float(of_letters[0]), seed=of_seed)
    return result
