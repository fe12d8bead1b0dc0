"""The curve over model sizes (Figure 2 by model, Table 2 by size)."""

from __future__ import annotations

import polars as pl

from okml.space_time.arms import size_passes
from okml.space_time.experiments.reading import at_chosen, measure_passes, probe_of
from okml.space_time.judging import Arm, HeldOut, less
from okml.space_time.model_sizes import describe_on_meta, known_config
from okml.space_time.study import Study
from okml.steps import StepResult

# Table 2 of the paper: test R² of the linear probe at 60 % depth.
PAPER = {
    "Llama-2-7B": (6.74e9, {"world_place": 0.881, "us_place": 0.799, "nyc_place": 0.219,
                            "historical_figure": 0.785, "art": 0.788, "headline": 0.564}),
    "Llama-2-13B": (13.0e9, {"world_place": 0.896, "us_place": 0.825, "nyc_place": 0.237,
                             "historical_figure": 0.804, "art": 0.806, "headline": 0.645}),
    "Llama-2-70B": (69.0e9, {"world_place": 0.911, "us_place": 0.864, "nyc_place": 0.359,
                             "historical_figure": 0.835, "art": 0.885, "headline": 0.746}),
}  # fmt: skip


def measure_sizes(study: Study, curves: pl.DataFrame, predictions: pl.DataFrame) -> StepResult:
    """Probe every model of the profile on the place set and the time set.

    Args:
        study: The study of the run.
        curves: Scores by layer of the largest model, measured before.
        predictions: The predictions of its probes.

    ``scale_gain`` is R² of the largest model minus that of the smallest of the same family.
    """
    profile = study.profile
    found = []
    places: list[Arm] = []  # the family of the largest model, small to large
    depth = {"curves": curves, "predictions": predictions}
    for one, frames in measure_passes(study, size_passes(profile), depth).items():
        if one.set == profile.place_set and one.model.family == profile.model.family:
            places.append(probe_of(study, frames["predictions"], one.set))
        parameters = describe_on_meta(known_config(one.model.name)).parameters
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
        {"source": "paper", "model": model, "family": "Llama-2", "parameters": parameters,
         "set": name, "r2": r2[name]}
        for model, (parameters, r2) in PAPER.items()
        for name in (study.profile.place_set, study.profile.time_set)
        if name in r2
    ]  # fmt: skip
    schema = {"source": pl.String, "model": pl.String, "family": pl.String,
              "parameters": pl.Float64, "set": pl.String, "r2": pl.Float64}  # fmt: skip
    return pl.DataFrame(rows, schema=schema)
