"""The curve over model sizes (Figure 2 by model, Table 2 by size)."""

from __future__ import annotations

import polars as pl

from okml.space_time.arms import model_passes
from okml.space_time.experiments.reading import at_chosen, probe_of
from okml.space_time.judging import Arm, HeldOut, less
from okml.space_time.model_sizes import describe_on_meta
from okml.space_time.paper import printed
from okml.space_time.study import Study
from okml.steps import StepResult

PUBLISHED = {  # name and parameters
    "llama2_7b": ("Llama-2-7B", 6.74e9),
    "llama2_13b": ("Llama-2-13B", 13.0e9),
    "llama2_70b": ("Llama-2-70B", 69.0e9),
}


def measure_sizes(study: Study) -> StepResult:
    """Probe every model of the profile on every set of the tables.

    ``scale_gain`` is R² of the largest model minus that of the smallest of the same family.
    """
    profile = study.profile
    found = []
    places: list[Arm] = []  # the family of the largest model, small to large
    for one in model_passes(profile):
        frames = study.read(one).frames
        if one.set == profile.place_set and one.model.family == profile.model.family:
            places.append(probe_of(study, frames["predictions"], one.set))
        parameters = describe_on_meta(one.model.name).parameters
        found += [
            {
                "source": "measured",
                "model": one.model.name,
                "family": one.model.family,
                "parameters": float(parameters),
                "set": one.set,
                "seed": seed,
                "r2": at_chosen(frames["curves"], seed),
            }
            for seed in study.probe_seeds
        ]
    frame = pl.DataFrame(found)
    result = StepResult(frames={"sizes": pl.concat([frame, _paper(study)], how="diagonal")})
    if len(places) > 1:
        held_out = HeldOut(study.entities(profile.place_set))
        gain = held_out.estimate(less(held_out.r2), places[-1], places[0])
        result.measure("scale_gain", gain, "R²")
    return result


def _paper(study: Study) -> pl.DataFrame:
    rows = [
        {"source": "paper", "model": shown, "family": "Llama-2", "parameters": parameters,
         "set": name, "r2": r2}
        for model, (shown, parameters) in PUBLISHED.items()
        for name in study.profile.table_sets
        if (r2 := printed("Table 2", model, name, "linear")) is not None
    ]  # fmt: skip
    schema = {"source": pl.String, "model": pl.String, "family": pl.String,
              "parameters": pl.Float64, "set": pl.String, "r2": pl.Float64}  # fmt: skip
    return pl.DataFrame(rows, schema=schema)
