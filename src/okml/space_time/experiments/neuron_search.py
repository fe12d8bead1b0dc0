"""E9: single neurons that follow a coordinate (Figure 5)."""

from __future__ import annotations

import numpy as np
import polars as pl

from okml.space_time.neurons import NeuronSearch, search_projections
from okml.space_time.study import Study, default_prompt
from okml.steps import StepResult

KEPT = 50  # best neurons of a target that the step keeps, as the authors' code does


def search(study: Study, name: str) -> NeuronSearch:
    """Search all neurons of the resident model for those that follow the targets of a set."""
    settings, model = study.profile.neurons, study.profile.resident_model
    entity_set = study.entities(name)
    rng = np.random.default_rng(0)
    count = min(settings.entities, len(entity_set))
    chosen = np.sort(rng.choice(len(entity_set), count, replace=False))
    y = entity_set.y()[chosen]  # [n, t]
    targets = {target: y[:, column] for column, target in enumerate(entity_set.targets)}
    with (
        study.activations(name, default_prompt(name), model) as store,
        study.language_model(model) as lm,
    ):
        return search_projections(lm, store, targets, rows=chosen, shuffles=settings.shuffles)


def measure_neurons(study: Study) -> StepResult:
    """Rank neurons for the place set and the time set, each beside its shuffled null."""
    result = StepResult()
    found, nulls = [], []
    for name in (study.profile.place_set, study.profile.time_set):
        searched = search(study, name)
        found.append(searched.best(KEPT).with_columns(set=pl.lit(name)))
        nulls.append(searched.null.with_columns(set=pl.lit(name)))
    result.frames = {"neurons": pl.concat(found), "neuron_null": pl.concat(nulls)}
    places = found[0]["rho"].abs()
    result.log("neuron_rho", float(places.to_numpy().max()), unit="|ρ|")
    null = nulls[0].group_by("shuffle").agg(pl.col("max_abs_rho").max())["max_abs_rho"]
    result.log("neuron_rho_null", float(null.to_numpy().mean()), unit="|ρ|")
    times = found[1]["rho"].abs()
    result.log("time_neuron_rho", float(times.to_numpy().max()), unit="|ρ|")
    return result
