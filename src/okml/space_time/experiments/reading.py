"""E1 and E8: accuracy by layer, maps and timelines (Figures 1, 2, 9 and 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.space_time.arms import Pass, asked, depth_passes
from okml.space_time.entities import EntitySet
from okml.space_time.judging import Arm, HeldOut, from_frame, less, to_frame
from okml.space_time.layers import Draw, LayerFit, fit_layers
from okml.space_time.metrics import Floats, great_circle_km, mean_r2, score
from okml.space_time.study import Study
from okml.steps import StepResult

Frames = Mapping[str, pl.DataFrame]
REGION_FIRST = "'s "  # stands between the region and the rest of a name that spells it
FEWEST = 20  # test names of a group, below which R² says nothing
SCORES = ("r2", "spearman", "proximity")
# Layers whose predictions are compared: the one that leave-one-out picks, the embedding, the middle
# one, and of the second half the one with the smallest and the one with the largest such error.
ROLES = CHOSEN, EMBEDDING, HALF, LATE_BEST, LATE_WORST = (
    "chosen", "embedding", "half", "late best", "late worst",
)  # fmt: skip


def describe_sets(study: Study) -> StepResult:
    """List the entity sets: kind, rows, test rows, unit, source and an example."""
    found = []
    for name in study.profile.sets:
        entity_set = study.entities(name)
        found.append(
            {
                "set": name,
                "kind": entity_set.kind,
                "entities": len(entity_set),
                "test": int(entity_set.test_mask().sum()),
                "unit": entity_set.unit,
                "example": entity_set.text()[0],
                "source": entity_set.source,
            }
        )
    return StepResult(
        frames={"sets": pl.DataFrame(found)},
        data=study.data_used({*study.profile.sets, study.profile.zip_set}),
    )


def measure_layers(study: Study, one: Pass) -> StepResult:
    """Probe every layer of a pass, for every seed.

    The frame ``curves`` has a row a layer and seed: ``loo`` (leave-one-out error on the training
    rows, in standardized units), ``lambda``, ``interior``, ``r2``, ``spearman``, ``proximity``,
    ``median_km``, ``r2_spelled`` and ``r2_bare`` (of names that spell their region, and of the
    others), ``depth`` (0 after the first block, 1 after the last), and ``chosen``, the layer with
    the smallest ``loo``: picked without a look at the test rows. The frame ``predictions`` has a
    row a seed, role of a layer (see ``ROLES``) and test entity: what the probe of that layer
    predicts. Both have ``set``, ``prompt`` and ``model`` (``trained`` or ``untrained``).
    """
    entity_set = study.entities(one.set)
    y, spelled = entity_set.y(), spells_region(entity_set.text())
    draws = [study.rows(one.set, seed) for seed in study.probe_seeds]
    with study.activations(one) as store:
        layers = list(
            fit_layers(
                store.states, y, draws,
                how=study.profile.probe.preprocess, lambdas=study.lambdas, device=study.device,
            )
        )  # fmt: skip
    last = len(layers) - 2
    found, predictions = [], []
    for seed, rows, *fits in zip(study.probe_seeds, draws, *layers, strict=True):
        true = y[rows.test]
        for fitted in fits:
            scores = score(true, fitted.predicted, entity_set.kind, device=study.device)
            found.append(
                {
                    "seed": seed,
                    "layer": fitted.layer,
                    "depth": fitted.layer / last,
                    "loo": fitted.fit.best_loo_mse,
                    "lambda": fitted.fit.lam,
                    "interior": fitted.fit.interior,
                    **{metric: getattr(scores, metric) for metric in SCORES},
                    "median_km": scores.median_km,
                    **r2_by_spelling(true, fitted.predicted, spelled[rows.test]),
                }
            )
        for role, fitted in _roles(fits, last).items():
            predicted = to_frame(rows.test, fitted.predicted)
            predictions.append(predicted.with_columns(seed=pl.lit(seed), role=pl.lit(role)))
    labels = {
        "set": pl.lit(one.set),
        "prompt": pl.lit(one.prompt),
        "model": pl.lit("untrained" if one.untrained else "trained"),
    }
    best = pl.col("layer").sort_by("loo").first().over("seed")
    splits = {"r2_spelled": pl.Float64, "r2_bare": pl.Float64}  # may be null in every row
    curves = pl.DataFrame(found, schema_overrides=splits)
    return StepResult(
        frames={
            "curves": curves.with_columns(chosen=best, **labels),
            "predictions": pl.concat(predictions).with_columns(**labels),
        }
    )


def spells_region(names: Sequence[str]) -> NDArray[np.bool_]:
    """Tell which names spell their region, as in "Iowa's Dallas County", [n]."""
    return np.array([REGION_FIRST in name for name in names])


def r2_by_spelling(
    true: Floats, predicted: Floats, spelled: NDArray[np.bool_]
) -> dict[str, float | None]:
    """Return R² of the names that spell their region and of the others; None for too few."""
    return {
        f"r2_{group}": mean_r2(true[rows], predicted[rows]) if rows.sum() >= FEWEST else None
        for group, rows in (("spelled", spelled), ("bare", ~spelled))
    }


def _roles(fits: Sequence[LayerFit], last: int) -> dict[str, LayerFit]:
    """Return the layers whose predictions are compared; the test rows choose none of them."""

    def error(fitted: LayerFit) -> float:
        return fitted.fit.best_loo_mse

    late = [fitted for fitted in fits if fitted.layer >= last // 2]
    middle = next(fitted for fitted in fits if fitted.layer == last // 2)
    chosen = (min(fits, key=error), fits[0], middle, min(late, key=error), max(late, key=error))
    return dict(zip(ROLES, chosen, strict=True))


def measure_passes(study: Study, passes: Sequence[Pass], depth: Frames) -> dict[Pass, Frames]:
    """Return the frames of :func:`measure_layers` for some passes.

    Args:
        study: The study of the run.
        passes: The passes to measure.
        depth: The frames of the step ``depth``, whose passes are not made again.
    """
    measured: dict[Pass, Frames] = {}
    for one in passes:
        if one in depth_passes(study.profile):
            model = "untrained" if one.untrained else "trained"
            measured[one] = {
                name: frame.filter(set=one.set, model=model) for name, frame in depth.items()
            }
        else:
            measured[one] = measure_layers(study, one).frames
    return measured


def probe_of(
    study: Study, predictions: pl.DataFrame, name: str, role: str = CHOSEN, model: str = "trained"
) -> Arm:
    """Return what the probe of a layer with this role predicts for a set."""
    return from_frame(
        predictions.filter(set=name, role=role, model=model), study.entities(name).y().shape
    )


def at_chosen(curves: pl.DataFrame, seed: int, metric: str = "r2") -> float:
    """Return a metric at the layer that leave-one-out picked for ``seed``."""
    rows = curves.filter(pl.col("seed") == seed, pl.col("layer") == pl.col("chosen"))
    return float(rows[metric][0])


def chosen_layer(curves: pl.DataFrame, seed: int) -> int:
    """Return the layer that leave-one-out picked for ``seed``."""
    return int(curves.filter(seed=seed)["chosen"][0])


def measure_depth(study: Study) -> StepResult:
    """Probe all layers of all sets, and of the untrained control, and log the headline numbers.

    ``place_rise`` is R² at half depth minus R² of the embedding. ``place_late_spread`` compares
    two layers of the second half: the one with the smallest leave-one-out error and the one with
    the largest. ``time_error_saved`` is how much smaller the probe's absolute error is than that of
    always guessing the median year of the training rows. The untrained control is that of the
    profile's resident model, and ``place_gain_over_untrained`` compares it with the same model
    trained.
    """
    profile, place = study.profile, study.profile.place_set
    resident = profile.resident_model
    measured = [measure_layers(study, one).frames for one in depth_passes(profile)]
    curves = pl.concat([frames["curves"] for frames in measured])
    predictions = pl.concat([frames["predictions"] for frames in measured], how="diagonal")
    result = StepResult(
        frames={"curves": curves, "layers": summary(curves), "predictions": predictions}
    )
    twin = predictions
    if resident != profile.model:
        twin = measure_layers(study, asked(resident, place)).frames["predictions"]
        result.notes.append(
            f"{profile.model.name} is read block by block; the untrained control, neurons and "
            f"interventions are those of {resident.name}."
        )
    for name, key in ((place, "place"), (profile.time_set, "time")):
        held_out = HeldOut(study.entities(name))
        probe = probe_of(study, predictions, name)
        result.measure(f"{key}_r2", held_out.estimate(held_out.r2, probe), "R²")
        rows = curves.filter(set=name, model="trained")
        for seed in study.probe_seeds:
            result.log(f"{key}_spearman", at_chosen(rows, seed, "spearman"), seed=seed, unit="ρ")
            result.log(f"{key}_proximity", at_chosen(rows, seed, "proximity"), seed=seed)
    _measure_depth(study, result, twin)
    _measure_guess(study, result)
    return result


def _measure_depth(study: Study, result: StepResult, twin: pl.DataFrame) -> None:
    """Measure how the probe of places changes with depth and with training."""
    name, found = study.profile.place_set, result.frames["predictions"]
    held_out = HeldOut(study.entities(name))
    gain = less(held_out.r2)
    rise = [probe_of(study, found, name, role) for role in (HALF, EMBEDDING)]
    untrained = [probe_of(study, found, name, role, "untrained") for role in (HALF, EMBEDDING)]
    late = [probe_of(study, found, name, role) for role in (LATE_BEST, LATE_WORST)]
    trained = probe_of(study, twin, name)
    result.measure("place_rise", held_out.estimate(gain, *rise), "R²")
    result.measure("place_untrained_rise", held_out.estimate(gain, *untrained), "R²")
    result.compare(
        "place_rise", "place_untrained_rise",
        held_out.estimate(
            lambda rows, a, b, c, d: gain(rows, a, b) - gain(rows, c, d), *rise, *untrained
        ),
    )  # fmt: skip
    result.measure("place_late_spread", held_out.estimate(gain, *late), "R²")
    control = probe_of(study, found, name, CHOSEN, "untrained")
    result.measure("place_gain_over_untrained", held_out.estimate(gain, trained, control), "R²")


def _measure_guess(study: Study, result: StepResult) -> None:
    """Measure the years that the probe of dates saves against guessing the median year."""
    name = study.profile.time_set
    held_out = HeldOut(study.entities(name))
    guesses = {
        seed: np.broadcast_to(
            np.median(held_out.y[study.rows(name, seed).train], 0), held_out.y.shape
        )
        for seed in study.probe_seeds
    }
    saved = held_out.estimate(
        lambda rows, p, q: float((np.abs(held_out.y - q) - np.abs(held_out.y - p))[rows].mean()),
        probe_of(study, result.frames["predictions"], name),
        guesses,
    )
    result.measure("time_error_saved", saved, study.entities(name).unit)


def summary(curves: pl.DataFrame) -> pl.DataFrame:
    """Return the best layer of each set: the mean of its scores over seeds."""
    at_best = curves.filter(pl.col("layer") == pl.col("chosen"))
    return at_best.group_by("set", "model", maintain_order=True).agg(
        pl.col("layer").median().round().cast(pl.Int64),
        *(pl.col(metric).mean() for metric in SCORES),
    )


def measure_predictions(study: Study, name: str, predictions: pl.DataFrame) -> StepResult:
    """Show the test entities of the first seed as the probe of the chosen layer predicts them.

    The frame ``predictions`` has ``entity``, ``region``, the targets and ``<target>_probed``;
    places also have ``error_km``.

    Args:
        study: The study of the run.
        name: The name of the set.
        predictions: The predictions of the probes of the layers.
    """
    entity_set, seed = study.entities(name), study.profile.seeds[0]
    rows, arm = study.rows(name, seed), probe_of(study, predictions, name)
    predicted, true = arm[seed][rows.test], entity_set.y()[rows.test]
    result = StepResult(frames={"predictions": _frame(entity_set, rows, predicted)})
    held_out = HeldOut(entity_set)
    of_map = held_out.estimate(held_out.r2, {seed: arm[seed]})
    result.measure(f"{name}_r2_of_map", of_map, "R²")
    if entity_set.kind == "space":
        error = result.frames["predictions"]["error_km"].to_numpy()
        result.log(f"{name}_median_km", float(np.median(error)), unit="km")
    else:
        error = np.abs(true - predicted)
        result.log(f"{name}_median_years", float(np.median(error)), unit="years")
    return result


def _frame(entity_set: EntitySet, rows: Draw, predicted: NDArray[np.float64]) -> pl.DataFrame:
    shown = entity_set.frame[rows.test]
    region = pl.lit("")
    if entity_set.region is not None:
        region = pl.col(entity_set.region).cast(pl.String).fill_null("")
    frame = shown.select("entity", *entity_set.targets, region=region)
    for column, target in enumerate(entity_set.targets):
        frame = frame.with_columns(pl.Series(f"{target}_probed", predicted[:, column]))
    if entity_set.kind == "space":
        error = great_circle_km(entity_set.y()[rows.test], predicted)
        frame = frame.with_columns(pl.Series("error_km", error))
    return frame
