"""E9: single neurons that follow a coordinate (Figure 5)."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.space_time.arms import asked
from okml.space_time.judging import HeldOut, less, whole
from okml.space_time.metrics import Floats, mean_spearman
from okml.space_time.neurons import NeuronSearch, project, search_projections
from okml.space_time.study import Study
from okml.steps import StepResult

KEPT = 50  # best neurons of a target that the step keeps, as the authors' code does


def measure_neurons(study: Study) -> StepResult:
    """Rank neurons for the place set and the time set, beside as many random directions.

    The search reads training names. What it finds best is scored on test names, for ``neuron_rho``
    and ``time_neuron_rho`` and, with random directions, for their controls ``neuron_rho_random``
    and ``time_neuron_rho_random``: ρ with the target that it was found for, in the sign that the
    search found. The frames ``neurons`` and ``random_directions`` are what the first seed finds.
    """
    result = StepResult(frames={"neurons": pl.DataFrame(), "random_directions": pl.DataFrame()})
    for name, metric in (
        (study.profile.place_set, "neuron_rho"), (study.profile.time_set, "time_neuron_rho"),
    ):  # fmt: skip
        arms: dict[str, dict[int, Floats]] = {frame: {} for frame in result.frames}
        for seed in study.probe_seeds:
            for frame, (searched, arm) in _search(study, name, seed).items():
                arms[frame][seed] = arm
                if seed == study.probe_seeds[0]:
                    best = searched.best(KEPT).with_columns(set=pl.lit(name))
                    result.frames[frame] = pl.concat([result.frames[frame], best], how="diagonal")
                    if searched.null.height:
                        null = searched.null.group_by("shuffle").agg(pl.col("max_abs_rho").max())
                        result.log(f"{metric}_null", float(null["max_abs_rho"].to_numpy().mean()))
        held_out = HeldOut(study.entities(name))
        neurons, random = arms.values()
        result.measure(metric, held_out.estimate(_rho, neurons), "ρ")
        result.measure(f"{metric}_random", held_out.estimate(_rho, random), "ρ")
        result.compare(metric, f"{metric}_random", held_out.estimate(less(_rho), neurons, random))
    return result


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
    with study.activations(asked(model, name)) as store:
        for frame, random_seed in (("neurons", None), ("random_directions", seed)):
            searched = search_projections(
                lm, store, targets, rows=chosen, seed=seed, random_seed=random_seed,
                shuffles=settings.shuffles if random_seed is None else 0,
            )  # fmt: skip
            best = max(searched.best().iter_rows(named=True), key=lambda row: abs(row["rho"]))
            projected = np.sign(best["rho"]) * project(lm, store, best, rows.test, random_seed)
            target = y[rows.test, entity_set.targets.index(best["target"])]
            arm = whole(len(y), rows.test, np.column_stack([projected, target]))
            found[frame] = (searched, arm)
    return found


def _rho(rows: NDArray[np.int64], arm: Floats) -> float:
    """Return the rank correlation of a projection with its target."""
    return mean_spearman(arm[rows, 1:], arm[rows, :1])
