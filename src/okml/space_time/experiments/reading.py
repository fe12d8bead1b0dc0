"""E1 and E8: accuracy by layer, maps and timelines (Figures 1, 2, 9 and 10)."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.ledger import estimate_statistic
from okml.space_time.activations import ActivationStore
from okml.space_time.baselines import shuffle_targets
from okml.space_time.config import ModelSettings
from okml.space_time.entities import EntitySet
from okml.space_time.groups import group_or_alone, within_group_spearman
from okml.space_time.layers import fit_layers
from okml.space_time.metrics import great_circle_km, mean_r2, score
from okml.space_time.study import Rows, Study, default_prompt
from okml.steps import StepResult

TRUE, SHUFFLED = "true", "shuffled"
SCORES = ("r2", "spearman", "proximity")


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


def layer_curves(study: Study, store: ActivationStore, name: str) -> pl.DataFrame:
    """Probe every layer for every seed, for the true targets and for shuffled ones.

    Returns:
        A row a layer, seed and kind of ``targets``: ``loo`` (leave-one-out error on the training
        rows, in standardized units), ``lambda``, ``interior``, ``r2``, ``spearman``,
        ``proximity``, ``median_km``, ``depth`` (0 after the first block, 1 after the last), and
        ``chosen``, the layer with the smallest ``loo``: picked without a look at the test rows.
    """
    entity_set, settings = study.entities(name), study.profile.probe
    y = entity_set.y()
    last = store.manifest.hidden[-1] - 1
    found = []
    for seed in study.probe_seeds:
        rows = study.rows(name, seed)
        targets = {TRUE: y, SHUFFLED: shuffle_targets(y, rows.train, seed)}
        layers = fit_layers(
            store.states, targets, rows.train, rows.test,
            how=settings.preprocess, lambdas=study.lambdas, device=study.device,
        )  # fmt: skip
        for fitted in layers:
            for kind, predicted in fitted.predictions.items():
                scores = score(y[rows.test], predicted, entity_set.kind, device=study.device)
                fit = fitted.fits[kind]
                found.append(
                    {
                        "targets": kind,
                        "seed": seed,
                        "layer": fitted.layer,
                        "depth": fitted.layer / last,
                        "loo": fit.best_loo_mse,
                        "lambda": fit.lam,
                        "interior": fit.interior,
                        **{metric: getattr(scores, metric) for metric in SCORES},
                        "median_km": scores.median_km,
                    }
                )
    best = pl.col("layer").sort_by("loo").first().over("targets", "seed")
    return pl.DataFrame(found).with_columns(chosen=best)


def measure_layers(
    study: Study,
    name: str,
    prompt: str | None = None,
    settings: ModelSettings | None = None,
    untrained: bool = False,
) -> StepResult:
    """Probe every layer of a model on a set, for every seed.

    The frame ``layers`` has the columns of :func:`layer_curves` and ``set``, ``prompt``, ``model``
    (``trained`` or ``untrained``).
    """
    prompt = prompt or default_prompt(name)
    untrained_seed = study.profile.seeds[0] if untrained else None
    with study.activations(name, prompt, settings, untrained_seed) as store:
        curves = layer_curves(study, store, name)
    labeled = curves.with_columns(
        set=pl.lit(name),
        prompt=pl.lit(prompt),
        model=pl.lit("untrained" if untrained else "trained"),
    )
    return StepResult(frames={"layers": labeled})


def at_chosen(curves: pl.DataFrame, seed: int, metric: str = "r2") -> float:
    """Return a metric of the true targets at the layer that leave-one-out picked for ``seed``."""
    rows = curves.filter(
        pl.col("targets") == TRUE, pl.col("seed") == seed, pl.col("layer") == pl.col("chosen")
    )
    return float(rows[metric][0])


def at_layer(curves: pl.DataFrame, seed: int, layer: int, targets: str = TRUE) -> float:
    """Return R² at a layer."""
    return float(curves.filter(targets=targets, seed=seed, layer=layer)["r2"][0])


def chosen_layer(curves: pl.DataFrame, seed: int) -> int:
    """Return the layer that leave-one-out picked for ``seed``."""
    return int(curves.filter(targets=TRUE, seed=seed)["chosen"][0])


def half_depth(curves: pl.DataFrame) -> int:
    """Return the layer in the middle of the model that ``curves`` are of."""
    return int(curves["layer"].to_numpy().max()) // 2


def measure_depth(study: Study) -> StepResult:
    """Probe all layers of all sets, and of the untrained control, and log the headline numbers.

    ``place_rise`` is R² at half depth minus R² of the embedding; ``place_plateau_gap`` is the
    best R² of the second half minus its worst. The untrained control is that of the profile's
    resident model, and ``place_gain_over_untrained`` compares it with the same model trained.
    """
    profile = study.profile
    trained = [measure_layers(study, name).frames["layers"] for name in profile.sets]
    resident = profile.resident_model
    untrained = measure_layers(study, profile.place_set, settings=resident, untrained=True).frames[
        "layers"
    ]
    curves = pl.concat([*trained, untrained])
    result = StepResult(frames={"curves": curves, "layers": summary(curves)})
    places = twin = curves.filter(set=profile.place_set, model="trained")
    if resident != profile.model:
        twin = measure_layers(study, profile.place_set, settings=resident).frames["layers"]
        result.notes.append(
            f"{profile.model.name} is read block by block; the untrained control, neurons and "
            f"interventions are those of {resident.name}."
        )
    for seed in study.probe_seeds:
        for name, key in ((profile.place_set, "place"), (profile.time_set, "time")):
            rows = curves.filter(set=name, model="trained")
            layer = chosen_layer(rows, seed)
            result.log(f"{key}_r2", at_chosen(rows, seed), seed=seed, unit="R²")
            result.log(f"{key}_spearman", at_chosen(rows, seed, "spearman"), seed=seed, unit="ρ")
            result.log(f"{key}_proximity", at_chosen(rows, seed, "proximity"), seed=seed)
            result.log(
                f"{key}_shuffled_r2", at_layer(rows, seed, layer, SHUFFLED), seed=seed, unit="R²"
            )
        half = half_depth(places)
        late = places.filter(pl.col("layer") >= half, targets=TRUE, seed=seed)["r2"].to_numpy()
        result.log("place_plateau_gap", float(np.ptp(late)), seed=seed, unit="R²")
        for rows, key in ((places, "place_rise"), (untrained, "place_untrained_rise")):
            rise = at_layer(rows, seed, half_depth(rows)) - at_layer(rows, seed, -1)
            result.log(key, rise, seed=seed, unit="R²")
        gain = at_chosen(twin, seed) - at_chosen(untrained, seed)
        result.log("place_gain_over_untrained", gain, seed=seed, unit="R²")
    return result


def summary(curves: pl.DataFrame) -> pl.DataFrame:
    """Return the best layer of each set: the mean of its scores over seeds."""
    at_best = curves.filter(pl.col("layer") == pl.col("chosen"), pl.col("targets") == TRUE)
    return at_best.group_by("set", "model", maintain_order=True).agg(
        pl.col("layer").median().round().cast(pl.Int64),
        *(pl.col(metric).mean() for metric in SCORES),
    )


def measure_predictions(study: Study, name: str, layer: int) -> StepResult:
    """Predict the test entities of the first seed, with an interval of R².

    The frame ``predictions`` has ``entity``, ``region``, the targets and ``<target>_probed``;
    places also have ``error_km``.
    """
    entity_set, seed = study.entities(name), study.profile.seeds[0]
    rows, y = study.rows(name, seed), entity_set.y()
    with study.activations(name, default_prompt(name)) as store:
        features = study.features(store.layer(layer))
    predicted = study.probe(features, y, rows)
    true = y[rows.test]
    result = StepResult(frames={"predictions": _frame(entity_set, rows, predicted)})
    clusters = None
    if entity_set.split_group is not None:
        clusters = group_or_alone(entity_set.frame[entity_set.split_group].to_numpy()[rows.test])
    of_map = estimate_statistic(
        lambda kept, _: mean_r2(true[kept], predicted[kept]),
        len(true), "entities", seeds=[seed], clusters=clusters,
    )  # fmt: skip
    result.measure(f"{name}_r2_of_map", of_map, "R²")
    if entity_set.kind == "space":
        error = result.frames["predictions"]["error_km"].to_numpy()
        result.log(f"{name}_median_km", float(np.median(error)), unit="km")
        region = result.frames["predictions"]["region"].to_numpy()
        within = within_group_spearman(true, predicted, region)
        result.log(f"{name}_within_region_spearman", within, unit="ρ")
    else:
        error = np.abs(true - predicted)
        result.log(f"{name}_median_years", float(np.median(error)), unit="years")
    return result


def _frame(entity_set: EntitySet, rows: Rows, predicted: NDArray[np.float64]) -> pl.DataFrame:
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
