"""E9: single neurons that follow a coordinate (Figure 5)."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.space_time.arms import table_pass
from okml.space_time.judging import HeldOut, less, whole
from okml.space_time.metrics import Floats, mean_spearman
from okml.space_time.neurons import NeuronSearch, project, search_projections
from okml.space_time.study import Study
from okml.steps import StepResult

KEPT = 50  # best neurons of a target that the step keeps, as the authors' code does


def measure_neurons(study: Study) -> StepResult:
    """Rank neurons for every set of the tables, beside as many random directions.

    The search reads training names. What it finds best is scored on test names, for ``neuron_rho``
    (the place set), ``time_neuron_rho`` (the time set) or ``<set>_neuron_rho`` and, with random
    directions, for its control ``…_random``: ρ with the target that it was found for, in the sign
    that the search found. The frames ``neurons``, ``random_directions`` and ``named_neurons``
    (those that the paper names) are what the first seed finds.
    """
    claimed = {study.profile.place_set: "neuron_rho", study.profile.time_set: "time_neuron_rho"}
    result = StepResult(frames={"neurons": pl.DataFrame(), "random_directions": pl.DataFrame()})
    named: list[pl.DataFrame] = []
    for name in study.profile.table_sets:
        metric = claimed.get(name, f"{name}_neuron_rho")
        arms: dict[str, dict[int, Floats]] = {frame: {} for frame in result.frames}
        for seed in study.probe_seeds:
            for frame, (searched, arm) in _search(study, name, seed).items():
                arms[frame][seed] = arm
                if seed == study.probe_seeds[0]:
                    best = searched.best(KEPT).with_columns(set=pl.lit(name))
                    result.frames[frame] = pl.concat([result.frames[frame], best], how="diagonal")
                    if frame == "neurons":
                        named.append(_named(study, name, searched))
                    if searched.null.height:
                        null = searched.null.group_by("shuffle").agg(pl.col("max_abs_rho").max())
                        result.log(f"{metric}_null", float(null["max_abs_rho"].to_numpy().mean()))
        held_out = HeldOut(study.entities(name))
        neurons, random = arms.values()
        result.measure(metric, held_out.estimate(_rho, neurons), "ρ")
        result.measure(f"{metric}_random", held_out.estimate(_rho, random), "ρ")
        result.compare(metric, f"{metric}_random", held_out.estimate(less(_rho), neurons, random))
    result.frames["named_neurons"] = pl.concat(named)
    for row in result.frames["named_neurons"].iter_rows(named=True):
        metric = f"neuron_rho_L{row['layer']}_{row['neuron']}"
        result.log(metric, abs(row["rho"]), unit="ρ on training names")
        result.log(f"{metric}_rank", row["better"] + 1, unit="of all weights of neurons")
    return result


def _named(study: Study, name: str, searched: NeuronSearch) -> pl.DataFrame:
    """Return how the neurons that the paper names fare in a search, each by its best weight.

    ``better`` counts the weights of all neurons that follow the same target more closely.
    """
    wanted = [
        {"layer": named.layer, "neuron": named.neuron}
        for named in study.profile.resident_model.named_neurons
        if named.set == name
    ]
    schema = {"layer": pl.Int32, "neuron": pl.Int32}
    size = pl.col("rho").abs()
    ranked = searched.neurons.with_columns(
        better=size.rank("ordinal", descending=True).over("target") - 1
    )
    found = ranked.join(pl.DataFrame(wanted, schema=schema), on=["layer", "neuron"])
    best = found.sort(size, descending=True, maintain_order=True).unique(
        ["layer", "neuron"], maintain_order=True, keep="first"
    )
    return best.with_columns(set=pl.lit(name))


def _search(study: Study, name: str, seed: int) -> dict[str, tuple[NeuronSearch, Floats]]:
    """Search the training names of a seed among neurons and among random directions.

    Returns:
        By name of the frame, the search, and for all entities [n, 2]: the projection on the best
        direction, with its sign, and the target that it was found for; NaN: not tested.
    """
    settings, model = study.profile.neurons, study.profile.resident_model
    entity_set, rows = study.entities(name), study.rows(name, seed)
    y = entity_set.y()
    count = min(settings.entities, len(rows.train))
    chosen = np.sort(np.random.default_rng(seed).choice(rows.train, count, replace=False))
    targets = {target: y[chosen, at] for at, target in enumerate(entity_set.targets)}
    found = {}
    lm = study.language_model(model)
    reading = study.read(table_pass(model, name))
    for frame, random_seed in (("neurons", None), ("random_directions", seed)):
        searched = search_projections(
            lm, reading, targets, rows=chosen, seed=seed, random_seed=random_seed,
            shuffles=settings.shuffles if random_seed is None else 0,
        )  # fmt: skip
        best = max(searched.best().iter_rows(named=True), key=lambda row: abs(row["rho"]))
        projected = np.sign(best["rho"]) * project(lm, reading, best, rows.test, random_seed)
        target = y[rows.test, entity_set.targets.index(best["target"])]
        arm = whole(len(y), rows.test, np.column_stack([projected, target]))
        found[frame] = (searched, arm)
    return found


def _rho(rows: NDArray[np.int64], arm: Floats) -> float:
    """Return the rank correlation of a projection with its target."""
    return mean_spearman(arm[rows, 1:], arm[rows, :1])
