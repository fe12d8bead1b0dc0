"""Accuracy by layer, maps and timelines (Figures 1, 2, 9 and 10)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.ledger import DataUsed
from okml.space_time import probes
from okml.space_time.arms import asked, depth_passes
from okml.space_time.entities import EntitySet, find, wordnet
from okml.space_time.judging import Arm, HeldOut, from_frame, less
from okml.space_time.layers import CHOSEN, FIRST, HALF, LATE_BEST, LATE_WORST, SCORES, Draw
from okml.space_time.metrics import great_circle_km
from okml.space_time.study import Study
from okml.steps import StepResult, files_used


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
    return StepResult(frames={"sets": pl.DataFrame(found)}, data=_data_used(study))


def _data_used(study: Study) -> dict[str, DataUsed]:
    """Return the files behind entity sets, models and word vectors, with source and hash."""
    profile = study.profile
    found = files_used(*wordnet.DATA)  # text on which neurons are removed
    for name in (*profile.sets, profile.zip_set):
        found |= files_used(*find(name).data)
    # A local folder has no entry in the catalog; readings depend on the hash of its files.
    whole = [model.name for model in profile.models if not Path(model.name).is_dir()]
    if profile.word_vectors is not None:
        whole.append(profile.word_vectors)
    for name in whole:
        found |= files_used(name)
    return found


def probe_of(
    study: Study, predictions: pl.DataFrame, name: str, role: str = CHOSEN, model: str = "trained"
) -> Arm:
    """Return what the probe of a layer with this role predicts for a set."""
    rows = predictions.filter(set=name, role=role, model=model)
    found = from_frame(rows, study.entities(name).y().shape)
    return found if model == "untrained" else probes.linear(study, found)


def at_chosen(curves: pl.DataFrame, seed: int, metric: str = "r2") -> float:
    """Return a metric at the layer that leave-one-out picked for ``seed``."""
    rows = curves.filter(pl.col("seed") == seed, pl.col("layer") == pl.col("chosen"))
    return float(rows[metric][0])


def chosen_layer(curves: pl.DataFrame, seed: int) -> int:
    """Return the layer that leave-one-out picked for ``seed``."""
    return int(curves.filter(seed=seed)["chosen"][0])


def measure_depth(study: Study) -> StepResult:
    """Probe all layers of all sets, and of the untrained control, and log the headline numbers.

    ``place_rise`` is R² at half depth minus R² after the first block, which mixes the tokens of a
    name and so makes even an untrained network better than its embedding. ``place_late_spread``
    compares two layers of the second half: the one with the smallest leave-one-out error and the
    one with the largest. ``time_error_saved`` is how much smaller the probe's absolute error is
    than that of always guessing the median year of the training rows. The untrained control is that
    of the profile's resident model, with weights drawn anew for every seed, and
    ``place_gain_over_untrained`` compares it with the same model trained.
    """
    profile, place = study.profile, study.profile.place_set
    resident = profile.resident_model
    study.read_ahead()
    measured = [study.read(one).frames for one in depth_passes(profile)]
    curves = pl.concat([frames["curves"] for frames in measured])
    predictions = pl.concat([frames["predictions"] for frames in measured], how="diagonal")
    result = StepResult(
        frames={"curves": curves, "layers": summary(curves), "predictions": predictions}
    )
    twin = predictions
    if resident != profile.model:
        twin = study.read(asked(resident, place)).frames["predictions"]
        result.notes.append(
            f"{profile.model.name} is probed; the untrained control, neurons and interventions are "
            f"those of {resident.name}."
        )
    for name in profile.sets:
        key, held_out = profile.stem(name), HeldOut(study.entities(name))
        probe = probe_of(study, predictions, name)
        result.measure(f"{key}_r2", held_out.estimate(held_out.r2, probe), "R²")
        rows = curves.filter(set=name, model="trained")
        for seed in study.probe_seeds:
            spearman, proximity = (at_chosen(rows, seed, of) for of in ("spearman", "proximity"))
            of_seed = None if study.fixed else seed
            result.log(f"{key}_spearman", spearman, seed=of_seed, unit="ρ")
            result.log(f"{key}_proximity", proximity, seed=of_seed)
    _measure_depth(study, result, twin)
    _measure_guess(study, result)
    return result


def _measure_depth(study: Study, result: StepResult, twin: pl.DataFrame) -> None:
    """Measure how the probe of places changes with depth and with training."""
    name, found = study.profile.place_set, result.frames["predictions"]
    held_out = HeldOut(study.entities(name))
    gain = less(held_out.r2)
    rise = [probe_of(study, found, name, role) for role in (HALF, FIRST)]
    untrained = [probe_of(study, found, name, role, "untrained") for role in (HALF, FIRST)]
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
        probes.linear(study, guesses),
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
    of_map = held_out.estimate(held_out.r2, probes.linear(study, {seed: arm[seed]}))
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
