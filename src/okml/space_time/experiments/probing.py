"""E2, E7 and the scaling check: the linear probe beside others (Table 2, Figure 4)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from okml.space_time.metrics import mean_r2, mean_spearman
from okml.space_time.probes import MLPProbe
from okml.space_time.ridge import pca_curve
from okml.space_time.study import Study, default_prompt
from okml.steps import StepResult

FEW = 20  # principal components that claim space_time.pca speaks of


def measure_probes(study: Study) -> StepResult:
    """Compare the linear probe with the MLP at 60 % depth on the place set and the time set."""
    profile, settings = study.profile, study.profile.probe
    found = []
    for name in (profile.place_set, profile.time_set):
        y = study.entities(name).y()
        with study.activations(name, default_prompt(name)) as store:
            states = store.layer(round(settings.depth * store.manifest.hidden[-1]) - 1)
        features = study.features(states)
        for seed in study.probe_seeds:
            rows = study.rows(name, seed)
            mlp = MLPProbe(
                hidden=settings.mlp_hidden,
                learning_rate=settings.mlp_learning_rate,
                weight_decays=settings.mlp_weight_decays,
                batch=settings.mlp_batch,
                epochs=settings.mlp_epochs,
                patience=settings.mlp_patience,
                how=settings.preprocess,
                seed=seed,
                device=study.device,
            )
            predictions = {
                "linear": study.probe(features, y, rows),
                "MLP": mlp.fit(states[rows.train], y[rows.train]).predict(states[rows.test]),
            }
            for probe, predicted in predictions.items():
                r2 = mean_r2(y[rows.test], predicted)
                found.append({"set": name, "probe": probe, "seed": seed, "r2": r2})
    frame = pl.DataFrame(found)
    result = StepResult(frames={"probes": frame})
    for seed in study.probe_seeds:
        found_here = frame.filter(set=profile.place_set, seed=seed)
        by_probe = dict(found_here.select("probe", "r2").iter_rows())
        result.log("mlp_gain", by_probe["MLP"] - by_probe["linear"], seed=seed, unit="R²")
    return result


def measure_components(study: Study, chosen: Mapping[str, int]) -> StepResult:
    """Fit the probe on the first k principal components of the training rows, for several k."""
    profile = study.profile
    found = []
    for name in (profile.place_set, profile.time_set):
        y = study.entities(name).y()
        with study.activations(name, default_prompt(name)) as store:
            features = study.features(store.layer(chosen[name]))
        width = features.shape[1]
        counts = sorted({FEW, width, *(k for k in profile.probe.pca_dimensions if k < width)})
        for seed in study.probe_seeds:
            rows = study.rows(name, seed)
            fits = pca_curve(features[rows.train], y[rows.train], counts, study.lambdas)
            for count, fit in fits.items():
                predicted = fit.predict(features[rows.test]).cpu().numpy()
                true = y[rows.test]
                found.append(
                    {
                        "set": name,
                        "seed": seed,
                        "components": count,
                        "r2": mean_r2(true, predicted),
                        "rho": mean_spearman(true, predicted),
                    }
                )
    frame = pl.DataFrame(found)
    result = StepResult(frames={"components": frame})
    for seed in study.probe_seeds:
        curve = frame.filter(set=profile.place_set, seed=seed).sort("components")
        ratio = float(curve.filter(components=FEW)["rho"][0]) / float(curve["rho"][-1])
        result.log("pca20_spearman_ratio", ratio, seed=seed, unit="share of the full probe's ρ")
    return result


def measure_scaling(study: Study, chosen: Mapping[str, int]) -> StepResult:
    """Compare rows divided by their RMS with raw rows, layer by layer on the place set.

    ``rms_gain`` is the largest difference over the layers: where a few rows with massive
    activations stand in the training set, the raw probe of that layer suffers. Whether there are
    any, ``massive_row_ratio`` tells: the largest norm of a row over the median, over all layers.
    """
    name = study.profile.place_set
    y = study.entities(name).y()
    found = []
    massive = 0.0
    with study.activations(name, default_prompt(name)) as store:
        for hidden in store.manifest.hidden:
            states = store.layer(hidden - 1)
            norms = np.linalg.norm(states, axis=1)
            massive = max(massive, float(norms.max() / np.median(norms)))
            for seed in study.probe_seeds:
                rows = study.rows(name, seed)
                for how in ("rms", "raw"):
                    predicted = study.probe(study.features(states, how), y, rows)
                    found.append(
                        {
                            "layer": hidden - 1,
                            "seed": seed,
                            "rows": how,
                            "r2": mean_r2(y[rows.test], predicted),
                        }
                    )
    frame = pl.DataFrame(found).pivot("rows", index=["layer", "seed"], values="r2")
    result = StepResult(frames={"scaling": frame})
    result.log("massive_row_ratio", massive, unit="largest norm over the median norm")
    for seed in study.probe_seeds:
        gains = frame.filter(seed=seed)
        gain = (gains["rms"] - gains["raw"]).to_numpy()
        result.log("rms_gain", float(gain.max()), seed=seed, unit="R²")
        at_best = gains.filter(layer=chosen[name])
        result.log(
            "rms_gain_at_best", float(at_best["rms"][0] - at_best["raw"][0]), seed=seed, unit="R²"
        )
    return result
